/* Each number has a place among the channels and a place in its channel, of both shapes. */
static void step_$number($parameters)
{
    for (int32_t i = 0; i < $count; i++) {
        const int32_t from = i % $in_area * $in_channels + i / $in_area;
        const int32_t to = i % $out_area * $out_channels + i / $out_area;
        out[to] = ($out_type)in0[from];
    }
}
