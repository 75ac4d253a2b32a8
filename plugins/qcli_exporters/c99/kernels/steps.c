static $out_type result_$number(int32_t row, $parameters)
{
    const $value_type value = $value;
    const $step_type *steps = steps_$number + row * $count;
    int32_t code = 0;
    for (int32_t half = $half; half > 0; half >>= 1) {
        if (code + half <= $count && steps[code + half - 1] <= value) {
            code += half;
        }
    }
    return $level;
}
