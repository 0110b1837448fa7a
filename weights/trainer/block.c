#include "trainer/pass.h"

/* Temporary tensors of a block; the attention's and the feed-forward's use the same memory. */
typedef struct block_work {
    trainer_planes normed1, normed2, dnormed;      /* [c] each */
    trainer_planes mixed, dmixed, dqkv, dattended; /* attention: [3c], [3c], [3c], [c] */
    trainer_planes hidden, dhidden, dwide;         /* feed-forward: [h], [h], [2h] */
    size_t values;
} block_work;

static block_work take_work(const trainer_pass *pass, int index, trainer_arena arena) {
    const mirl_block *block = &pass->network->graph->blocks[index];
    const trainer_block_state *state = &pass->blocks[index];
    bool kept = pass->network->ops->keeps;
    int c = block->channels, h = block->hidden, scale = block->scale;
    size_t before = arena.used;
    block_work work = {.dnormed = trainer_take_planes(pass, &arena, c, scale)};

    work.normed1 = kept ? state->normed1 : trainer_take_planes(pass, &arena, c, scale);
    work.normed2 = kept ? state->normed2 : work.normed1;
    trainer_arena second = arena;
    work.mixed = kept ? state->mixed : trainer_take_planes(pass, &arena, 3 * c, scale);
    work.dmixed = trainer_take_planes(pass, &arena, 3 * c, scale);
    work.dqkv = trainer_take_planes(pass, &arena, 3 * c, scale);
    work.dattended = trainer_take_planes(pass, &arena, c, scale);
    work.hidden = trainer_take_planes(pass, &second, h, scale);
    work.dhidden = trainer_take_planes(pass, &second, h, scale);
    work.dwide = trainer_take_planes(pass, &second, 2 * h, scale);
    work.values = (arena.used > second.used ? arena.used : second.used) - before;
    return work;
}

size_t trainer_block_work(const trainer_pass *pass, int block) {
    return take_work(pass, block, (trainer_arena){0}).values;
}

void trainer_block_plan(const trainer_pass *pass, int block, trainer_arena *arena) {
    const mirl_block *shape = &pass->network->graph->blocks[block];
    trainer_block_state *state = &pass->blocks[block];
    size_t c = (size_t)(shape->channels / shape->heads);

    state->qkv = trainer_take_planes(pass, arena, 3 * shape->channels, shape->scale);
    state->attended = trainer_take_planes(pass, arena, shape->channels, shape->scale);
    state->middle = trainer_take_planes(pass, arena, shape->channels, shape->scale);
    state->wide = trainer_take_planes(pass, arena, 2 * shape->hidden, shape->scale);
    if (pass->network->ops->keeps) {
        state->normed1 = trainer_take_planes(pass, arena, shape->channels, shape->scale);
        state->normed2 = trainer_take_planes(pass, arena, shape->channels, shape->scale);
        state->mixed = trainer_take_planes(pass, arena, 3 * shape->channels, shape->scale);
    }
    state->maps = trainer_take(arena, (size_t)(pass->n * shape->heads) * (2 * c * c + 2 * c));
}

/* From x to (q, k, v), in work.mixed. */
static void mix(trainer_pass *pass, int index, const block_work *work) {
    const mirl_block *block = &pass->network->graph->blocks[index];
    const trainer_ops *ops = pass->network->ops;
    const trainer_block_state *state = &pass->blocks[index];

    ops->norm_forward(trainer_pass_values(pass, block->norm1_weight),
                      trainer_pass_values(pass, block->norm1_bias), state->x, work->normed1);
    ops->conv_depthwise_forward(&pass->network->convs[block->qkv],
                                trainer_pass_values(pass, block->qkv_dwconv), work->normed1, state->qkv,
                                work->mixed, pass->scratch);
}

/* The norm before the feed-forward, in work.normed2. */
static void norm_middle(trainer_pass *pass, int index, const block_work *work) {
    const mirl_block *block = &pass->network->graph->blocks[index];
    pass->network->ops->norm_forward(trainer_pass_values(pass, block->norm2_weight),
                                     trainer_pass_values(pass, block->norm2_bias), pass->blocks[index].middle,
                                     work->normed2);
}

/* y = x + attn(norm1(x)), y = y + ffn(norm2(y)) */
void trainer_block_forward(trainer_pass *pass, int index) {
    const mirl_block *block = &pass->network->graph->blocks[index];
    const trainer_ops *ops = pass->network->ops;
    const trainer_conv *convs = pass->network->convs;
    const trainer_block_state *state = &pass->blocks[index];
    block_work work = take_work(pass, index, pass->work);

    mix(pass, index, &work);
    ops->attention_forward(trainer_pass_values(pass, block->temperature), block->heads, work.mixed,
                           state->maps, state->attended, pass->scratch);
    trainer_pass_conv(pass, block->attn_project_out, state->attended, &state->x, state->middle);

    norm_middle(pass, index, &work);
    ops->conv_gate_conv_forward(&convs[block->project_in], trainer_pass_values(pass, block->dwconv),
                                &convs[block->ffn_project_out], work.normed2, state->wide, work.hidden,
                                state->middle, state->y, pass->scratch);
}

void trainer_block_backward(trainer_pass *pass, int index, trainer_planes d) {
    const mirl_block *block = &pass->network->graph->blocks[index];
    const trainer_ops *ops = pass->network->ops;
    const trainer_conv *convs = pass->network->convs;
    const trainer_block_state *state = &pass->blocks[index];
    block_work work = take_work(pass, index, pass->work);

    if (!ops->keeps)
        norm_middle(pass, index, &work);
    ops->conv_gate_conv_backward(
        &convs[block->project_in], trainer_pass_values(pass, block->dwconv), &convs[block->ffn_project_out],
        work.normed2, state->wide, d, work.hidden, work.dhidden, work.dwide, work.dnormed,
        trainer_pass_gradient(pass, block->project_in), trainer_pass_gradient(pass, block->dwconv),
        trainer_pass_gradient(pass, block->ffn_project_out), pass->scratch);
    ops->norm_backward(trainer_pass_values(pass, block->norm2_weight), state->middle, work.dnormed, d,
                       trainer_pass_gradient(pass, block->norm2_weight),
                       trainer_pass_gradient(pass, block->norm2_bias), pass->scratch);

    trainer_pass_conv_backward(pass, block->attn_project_out, state->attended, d, NULL, work.dattended);
    if (!ops->keeps)
        mix(pass, index, &work);
    ops->attention_backward(trainer_pass_values(pass, block->temperature), block->heads, work.mixed,
                            state->maps, work.dattended, work.dmixed,
                            trainer_pass_gradient(pass, block->temperature), pass->scratch);
    ops->conv_depthwise_backward(&convs[block->qkv], trainer_pass_values(pass, block->qkv_dwconv),
                                 work.normed1, state->qkv, work.dmixed, work.dqkv, work.dnormed,
                                 trainer_pass_gradient(pass, block->qkv),
                                 trainer_pass_gradient(pass, block->qkv_dwconv), pass->scratch);
    ops->norm_backward(trainer_pass_values(pass, block->norm1_weight), state->x, work.dnormed, d,
                       trainer_pass_gradient(pass, block->norm1_weight),
                       trainer_pass_gradient(pass, block->norm1_bias), pass->scratch);
}
