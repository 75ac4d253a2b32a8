static void step_$number($parameters)
{
    for (int32_t pixel = 0; pixel < $pixels; pixel++) {
        for (int32_t c = 0; c < $channels; c++) {
            const int32_t at = pixel * $channels + c;
            out[at] = $result;
        }
    }
}
