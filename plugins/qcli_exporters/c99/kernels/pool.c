static void step_$number($parameters)
{
    for (int32_t y = 0; y < $out_height; y++) {
        for (int32_t x = 0; x < $out_width; x++) {
            $out_type *result = out + (y * $out_width + x) * $channels;
            for (int32_t c = 0; c < $channels; c++) {
                result[c] = $start;
            }
            for (int32_t ky = 0; ky < $kernel_height; ky++) {
                const int32_t row = $row;
                $skip_row
                for (int32_t kx = 0; kx < $kernel_width; kx++) {
                    const int32_t column = $column;
                    $skip_column
                    const $in_type *values = in0 + (row * $width + column) * $channels;
                    for (int32_t c = 0; c < $channels; c++) {
                        result[c] = ($out_type)($gathered);
                    }
                }
            }
        }
    }
}
