/* The table of one instruction set.
 */
#include "trainer/ops/internal.h"

#define DECLARE_TEXT2(x) #x
#define DECLARE_TEXT(x) DECLARE_TEXT2(x)

void OP(conv_depthwise_forward)(const trainer_conv *, const real *, trainer_planes, trainer_planes,
                                trainer_planes, real *);
void OP(conv_depthwise_backward)(const trainer_conv *, const real *, trainer_planes, trainer_planes,
                                 trainer_planes, trainer_planes, trainer_planes, real *, real *, real *);
void OP(conv_gate_conv_forward)(const trainer_conv *, const real *, const trainer_conv *, trainer_planes,
                                trainer_planes, trainer_planes, trainer_planes, trainer_planes, real *);
void OP(conv_gate_conv_backward)(const trainer_conv *, const real *, const trainer_conv *, trainer_planes,
                                 trainer_planes, trainer_planes, trainer_planes, trainer_planes,
                                 trainer_planes, trainer_planes, real *, real *, real *, real *);
void OP(norm_forward)(const real *, const real *, trainer_planes, trainer_planes);
void OP(norm_backward)(const real *, trainer_planes, trainer_planes, trainer_planes, real *, real *, real *);
void OP(attention_forward)(const real *, int, trainer_planes, real *, trainer_planes, real *);
void OP(attention_backward)(const real *, int, trainer_planes, const real *, trainer_planes, trainer_planes,
                            real *, real *);
void OP(shuffle)(trainer_planes, trainer_planes);
void OP(unshuffle)(trainer_planes, trainer_planes);
void OP(prompt_forward)(const trainer_prompt *, trainer_planes, real *, real *, trainer_planes, real *);
void OP(prompt_backward)(const trainer_prompt *, const real *, const real *, trainer_planes, trainer_planes,
                         real *, real *, real *, real *);
void OP(pack)(const float *, trainer_planes);
void OP(unpack)(trainer_planes, float *);
void OP(loss)(trainer_planes, trainer_planes, real, trainer_planes, double *, real *);
void OP(adamw)(const trainer_adamw_factors *, size_t, real *, const real *, real *, real *, const uint8_t *);

extern const trainer_ops OP(ops);
const trainer_ops OP(ops) = {
    .name = DECLARE_TEXT(TRAINER_ISA),
    .split = SPLIT,
    .densest = SPLIT ? 0.3 : 0.4,
    .pack = OP(pack),
    .unpack = OP(unpack),
    .conv_forward = OP(conv_forward),
    .conv_backward_input = OP(conv_backward_input),
    .conv_backward_weight = OP(conv_backward_weight),
    .depthwise_forward = OP(depthwise_forward),
    .depthwise_backward = OP(depthwise_backward),
    .gate_forward = OP(gate_forward),
    .gate_backward = OP(gate_backward),
    .conv_depthwise_forward = OP(conv_depthwise_forward),
    .conv_depthwise_backward = OP(conv_depthwise_backward),
    .conv_gate_conv_forward = OP(conv_gate_conv_forward),
    .conv_gate_conv_backward = OP(conv_gate_conv_backward),
    .norm_forward = OP(norm_forward),
    .norm_backward = OP(norm_backward),
    .attention_forward = OP(attention_forward),
    .attention_backward = OP(attention_backward),
    .shuffle = OP(shuffle),
    .unshuffle = OP(unshuffle),
    .prompt_forward = OP(prompt_forward),
    .prompt_backward = OP(prompt_backward),
    .loss = OP(loss),
    .adamw = OP(adamw),
};
