/*
 * Classify raw images: $name [-v] FILE, or - for the standard input.
 *
 * FILE holds one or more images of $image_bytes bytes, as $name.h describes them. The class of each
 * is printed on a line; with -v its scores follow, as integers.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "$name.h"

static uint8_t image[${macro}_IMAGE_BYTES];
static int64_t logits[${macro}_CLASSES];

#ifdef ${macro}_OBSERVE
void ${name}_observe(int node, const void *values, size_t count, int bytes)
{
    (void)node;
    fwrite(values, (size_t)bytes, count, stdout);
}

static void tell(int verbose)
{
    (void)verbose;
    ${name}_run(image, logits);
}
#else
static void tell(int verbose)
{
    printf("%d", ${name}_classify(image));
    if (verbose) {
        ${name}_run(image, logits);
        for (int i = 0; i < ${macro}_CLASSES; i++) {
            printf(" %" PRId64, logits[i]);
        }
    }
    printf("\n");
}
#endif

int main(int argc, char **argv)
{
    const int verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
    const char *path = argc == 2 + verbose ? argv[1 + verbose] : NULL;
    size_t size, images = 0;
    FILE *file;

    if (path == NULL) {
        fprintf(stderr, "usage: %s [-v] FILE\n", argv[0]);
        return 2;
    }
    file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "%s: cannot be read\n", path);
        return 1;
    }
    while ((size = fread(image, 1, sizeof image, file)) == sizeof image) {
        tell(verbose);
        images++;
    }
    if (size > 0 || images == 0) {
        fprintf(stderr, "%s: %zu bytes after image %zu; an image has %zu\n", path, size, images,
                sizeof image);
        return 1;
    }
    return ferror(file) || fflush(stdout) ? 1 : 0;
}
