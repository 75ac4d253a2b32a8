static void step_$number($parameters)
{
    for (int32_t o = 0; o < $filters; o++) {
        $filter
        for (int32_t y = 0; y < $out_height; y++) {
            for (int32_t x = 0; x < $out_width; x++) {
                const int32_t at = (y * $out_width + x) * $filters + o;
                $sum_type sum = 0;
                for (int32_t ky = 0; ky < $kernel_height; ky++) {
                    const int32_t row = $row;
                    $skip_row
                    for (int32_t kx = 0; kx < $kernel_width; kx++) {
                        const int32_t column = $column;
                        $skip_column
                        const $in_type *values = $source + (row * $width + column) * $channels;
                        const $filter_type *weights = filter + (ky * $kernel_width + kx) * $run;
                        for (int32_t i = 0; i < $run; i++) {
                            sum += ($sum_type)values[i] * weights[i];
                        }
                    }
                }
                out[at] = $result;
            }
        }
    }
}
