/* Functions that are one and the same in the trainer's C and in a device's kernels.
 */
#ifndef MIRL_TRAINER_INLINE_H
#define MIRL_TRAINER_INLINE_H

#ifdef __CUDACC__
#define TRAINER_INLINE static inline __host__ __device__
#else
#define TRAINER_INLINE static inline
#endif

#endif
