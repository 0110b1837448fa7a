/* More than one machine: the sums over all processes that data-parallel training needs. With MIRL_MPI they go
 * over MPI; without it there is one process and nothing to do.
 */
#ifndef MIRL_TRAINER_COMM_H
#define MIRL_TRAINER_COMM_H

#include <stddef.h>

/** Call once at the start and the end of the program, outside OpenMP regions. */
void trainer_comm_open(int *argc, char ***argv);
void trainer_comm_close(void);

/** This process and their number; 0 and 1 without MPI. */
int trainer_comm_rank(void);
int trainer_comm_ranks(void);

/** In every process: the sum over all of them, in place. */
void trainer_comm_sum(float *values, size_t count);
void trainer_comm_sum_doubles(double *values, size_t count);

#endif
