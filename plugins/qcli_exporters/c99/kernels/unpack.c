static void unpack_${bits}_${type}(
    const uint8_t *packed, int32_t size, const ${type}_t *values, ${type}_t *restrict filter)
{
    for (int32_t i = 0; i < size; i++) {
        const int32_t codes = packed[i];
        for (int32_t j = 0; j < $per_byte; j++) {
            *filter++ = values[(codes >> (j * $bits)) & $mask];
        }
    }
}
