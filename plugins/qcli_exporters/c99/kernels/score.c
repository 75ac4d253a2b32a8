static int64_t result_$number(int32_t row, $parameters)
{
    return $value;
}
