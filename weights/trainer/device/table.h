/* The table of operations, and the room that they take.
 */

static size_t more(size_t a, size_t b) {
    return a > b ? a : b;
}

static size_t device_scratch(const mirl_graph *graph, int n, int h, int w) {
    size_t most = 2 * LOSS_BLOCKS * sizeof(double) / sizeof(real), samples = (size_t)n;
    for (int i = 0; i < graph->layer_count; i++) {
        const mirl_layer *layer = &graph->layers[i];
        size_t scale = (size_t)(layer->scale ? layer->scale : 1);
        size_t pixels = samples * ((size_t)h / scale) * ((size_t)w / scale);
        if (layer->kind == MIRL_CONV3)
            most = more(most, convolution_scratch((size_t)layer->shape[1], (size_t)layer->shape[0], pixels));
        if (layer->kind == MIRL_PROMPT_PARAM)
            most = more(most, prompt_scratch(samples, (size_t)layer->shape[1],
                                             layer->count / (size_t)layer->shape[1]));
    }
    for (int b = 0; b < graph->block_count; b++) {
        const mirl_block *block = &graph->blocks[b];
        size_t pixels = samples * (size_t)(h / block->scale) * (size_t)(w / block->scale);
        size_t channels = (size_t)block->channels, hidden = (size_t)block->hidden;
        most = more(most, norm_scratch(channels, pixels));
        most = more(most, depthwise_scratch(3 * channels));
        most = more(most, gate_scratch(hidden, pixels));
        most = more(most, attention_scratch(samples, channels, (size_t)block->heads));
    }
    return most;
}

extern const trainer_ops DEVICE_TABLE;
const trainer_ops DEVICE_TABLE = {
    .name = DEVICE_NAME,
    .keeps = true,
    .memory = &DEVICE_MEMORY,
    .scratch = device_scratch,
    .pack = device_pack,
    .unpack = device_unpack,
    .conv_forward = device_conv_forward,
    .conv_backward_input = device_conv_backward_input,
    .conv_backward_weight = device_conv_backward_weight,
    .depthwise_forward = device_depthwise_forward,
    .depthwise_backward = device_depthwise_backward,
    .gate_forward = device_gate_forward,
    .gate_backward = device_gate_backward,
    .conv_depthwise_forward = device_conv_depthwise_forward,
    .conv_depthwise_backward = device_conv_depthwise_backward,
    .conv_gate_conv_forward = device_conv_gate_conv_forward,
    .conv_gate_conv_backward = device_conv_gate_conv_backward,
    .norm_forward = device_norm_forward,
    .norm_backward = device_norm_backward,
    .attention_forward = device_attention_forward,
    .attention_backward = device_attention_backward,
    .shuffle = device_shuffle,
    .unshuffle = device_unshuffle,
    .prompt_forward = device_prompt_forward,
    .prompt_backward = device_prompt_backward,
    .loss = device_loss,
    .adamw = device_adamw,
    .patches_room = device_patches_room,
    .patches = device_patches,
};
