static $out_type result_$number(int32_t row, $parameters)
{
    const int64_t lift = (int64_t)1 << lifts_$number[row];
    const int64_t limit = (int64_t)1 << (61 - lifts_$number[row]);
    int64_t value = $value;
    int32_t code = 0;
    if (value > limit) {
        value = limit;
    }
    if (value < -limit) {
        value = -limit;
    }
    value *= lift;
    for (int32_t half = $half; half > 0; half >>= 1) {
        if (code + half <= $count && steps_$number[code + half - 1] <= value) {
            code += half;
        }
    }
    return $level;
}
