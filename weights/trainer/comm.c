#include "trainer/comm.h"

#ifdef MIRL_MPI

#include <mpi.h>

enum { LARGEST = 1 << 26 }; ///< values a call; MPI counts in int

void trainer_comm_open(int *argc, char ***argv) {
    int got;
    MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &got);
}

void trainer_comm_close(void) {
    MPI_Finalize();
}

int trainer_comm_rank(void) {
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
}

int trainer_comm_ranks(void) {
    int ranks;
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    return ranks;
}

void trainer_comm_sum(float *values, size_t count) {
    for (size_t first = 0; first < count; first += LARGEST) {
        size_t part = count - first < LARGEST ? count - first : LARGEST;
        MPI_Allreduce(MPI_IN_PLACE, values + first, (int)part, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    }
}

void trainer_comm_sum_doubles(double *values, size_t count) {
    MPI_Allreduce(MPI_IN_PLACE, values, (int)count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
}

#else

void trainer_comm_open(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
}

void trainer_comm_close(void) {
}

int trainer_comm_rank(void) {
    return 0;
}

int trainer_comm_ranks(void) {
    return 1;
}

void trainer_comm_sum(float *values, size_t count) {
    (void)values;
    (void)count;
}

void trainer_comm_sum_doubles(double *values, size_t count) {
    (void)values;
    (void)count;
}

#endif
