static $out_type result_$number(int32_t row, $parameters)
{
    const int64_t value = $value;
    const int32_t shift = shifts_$number[row];
    int64_t code = 0;
    if (value > 0) {
        code = $rounded;
    }
    if (code > $last) {
        code = $last;
    }
    return $level;
}
