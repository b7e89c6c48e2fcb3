/* A stand-in for libcuda.so on machines without a card: programs open an "H100", NVRTC compiles every kernel that they ask for, and
 * ptxas, where PTXAS names it, assembles what NVRTC wrote. Nothing is executed: copies work, launches do nothing, and what a program reads
 * back is 2.0 in every f32, which is what a check of 1 + 1 wants to see. So it says that kernels compile for sm_90a, and with how many
 * registers and spills; no number that a program prints means anything.
 *
 *   cc -shared -fPIC -O1 -o libcuda.so driver.c
 *   LD_LIBRARY_PATH=.:FOLDER_OF_NVRTC CUDA_PATH=TOOLKIT PTXAS=…/ptxas TU_KERNEL_LOG=kernels.tsv network_speed --device cuda …
 *
 * TU_KERNEL_LOG receives a line for each kernel: entry, seconds of ptxas, what ptxas says of registers, spills and shared memory.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SUCCESS 0
#define INVALID_VALUE 1
#define OUT_OF_MEMORY 2
#define INVALID_PTX 218

typedef int CUresult;
typedef uint64_t CUdeviceptr;

/* Things that are only passed around. */
static int context, stream, event, module, function, graph;

CUresult cuInit(unsigned flags) { (void)flags; return SUCCESS; }
CUresult cuDriverGetVersion(int *version) { *version = 13000; return SUCCESS; }
CUresult cuDeviceGetCount(int *count) { *count = 1; return SUCCESS; }
CUresult cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal == 0 ? SUCCESS : INVALID_VALUE; }
CUresult cuDeviceGetName(char *name, int length, int device) { (void)device; snprintf(name, length, "NVIDIA H100 (compile only)"); return SUCCESS; }
CUresult cuDeviceTotalMem_v2(size_t *bytes, int device) { (void)device; *bytes = (size_t)80 << 30; return SUCCESS; }
CUresult cuDeviceGetPCIBusId(char *id, int length, int device) { (void)device; snprintf(id, length, "0000:01:00.0"); return SUCCESS; }
CUresult cuDeviceGetUuid_v2(char *uuid, int device) { (void)device; memset(uuid, 1, 16); return SUCCESS; }
CUresult cuDevicePrimaryCtxRetain(void **out, int device) { (void)device; *out = &context; return SUCCESS; }
CUresult cuDevicePrimaryCtxRelease_v2(int device) { (void)device; return SUCCESS; }
CUresult cuCtxSetCurrent(void *c) { (void)c; return SUCCESS; }
CUresult cuCtxGetCurrent(void **out) { *out = &context; return SUCCESS; }
CUresult cuCtxSynchronize(void) { return SUCCESS; }
CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) { *least = 0; *greatest = -5; return SUCCESS; }

/* An H100, as far as it is asked for. */
CUresult cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    switch (attribute) {
    case 1: *value = 1024; break;       /* threads per block */
    case 2: case 3: *value = 1024; break;
    case 4: *value = 64; break;
    case 5: *value = 2147483647; break; /* grid */
    case 6: case 7: *value = 65535; break;
    case 10: *value = 32; break;        /* warp */
    case 16: *value = 132; break;       /* multiprocessors */
    case 75: *value = 9; break;         /* compute capability */
    case 76: *value = 0; break;
    case 97: *value = 232448; break;    /* shared memory that a block may opt in to */
    case 115: *value = 1; break;        /* memory pools */
    default: *value = 0;
    }
    return SUCCESS;
}

/* Device memory is address space: nothing reads it. */
CUresult cuMemAlloc_v2(CUdeviceptr *out, size_t bytes) {
    static CUdeviceptr next = (CUdeviceptr)1 << 40;
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    *out = next;
    next += (bytes + 4095) / 4096 * 4096;
    pthread_mutex_unlock(&lock);
    return SUCCESS;
}
CUresult cuMemAllocAsync(CUdeviceptr *out, size_t bytes, void *s) { (void)s; return cuMemAlloc_v2(out, bytes); }
CUresult cuMemFree_v2(CUdeviceptr p) { (void)p; return SUCCESS; }
CUresult cuMemFreeAsync(CUdeviceptr p, void *s) { (void)p; (void)s; return SUCCESS; }
CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total) { *free_bytes = *total = (size_t)80 << 30; return SUCCESS; }
CUresult cuMemAllocHost_v2(void **out, size_t bytes) { return posix_memalign(out, 4096, bytes) == 0 ? SUCCESS : OUT_OF_MEMORY; }
CUresult cuMemFreeHost(void *p) { free(p); return SUCCESS; }
CUresult cuMemHostAlloc(void **out, size_t bytes, unsigned flags) { (void)flags; return cuMemAllocHost_v2(out, bytes); }

static void fill(void *to, size_t bytes) {
    const float two = 2.0f;
    for (size_t i = 0; i + 4 <= bytes; i += 4) memcpy((char *)to + i, &two, 4);
}
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t n, void *s) { (void)to; (void)from; (void)n; (void)s; return SUCCESS; }
CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t n) { (void)to; (void)from; (void)n; return SUCCESS; }
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t n, void *s) { (void)to; (void)from; (void)n; (void)s; return SUCCESS; }
CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t n, void *s) { (void)from; (void)s; fill(to, n); return SUCCESS; }
CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t n) { (void)from; fill(to, n); return SUCCESS; }
CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char v, size_t n, void *s) { (void)to; (void)v; (void)n; (void)s; return SUCCESS; }

/* CUDA_MEMCPY2D. */
struct copy2d {
    size_t src_x, src_y; int src_type; const void *src_host; CUdeviceptr src_device; void *src_array; size_t src_pitch;
    size_t dst_x, dst_y; int dst_type; void *dst_host; CUdeviceptr dst_device; void *dst_array; size_t dst_pitch;
    size_t width, height;
};
CUresult cuMemcpy2DAsync_v2(const struct copy2d *copy, void *s) {
    (void)s;
    if (copy->dst_type == 1)
        for (size_t y = 0; y < copy->height; y++) fill((char *)copy->dst_host + y * copy->dst_pitch, copy->width);
    return SUCCESS;
}

CUresult cuStreamCreate(void **out, unsigned flags) { (void)flags; *out = &stream; return SUCCESS; }
CUresult cuStreamCreateWithPriority(void **out, unsigned flags, int priority) { (void)priority; return cuStreamCreate(out, flags); }
CUresult cuStreamDestroy_v2(void *s) { (void)s; return SUCCESS; }
CUresult cuStreamSynchronize(void *s) { (void)s; return SUCCESS; }
CUresult cuStreamWaitEvent(void *s, void *e, unsigned flags) { (void)s; (void)e; (void)flags; return SUCCESS; }
CUresult cuEventCreate(void **out, unsigned flags) { (void)flags; *out = &event; return SUCCESS; }
CUresult cuEventRecord(void *e, void *s) { (void)e; (void)s; return SUCCESS; }
CUresult cuEventQuery(void *e) { (void)e; return SUCCESS; }
CUresult cuEventSynchronize(void *e) { (void)e; return SUCCESS; }
CUresult cuEventDestroy_v2(void *e) { (void)e; return SUCCESS; }
/* Every kernel takes a millisecond, so that all candidates of a choice are equally quick. */
CUresult cuEventElapsedTime(float *ms, void *a, void *b) { (void)a; (void)b; *ms = 1.0f; return SUCCESS; }
CUresult cuEventElapsedTime_v2(float *ms, void *a, void *b) { return cuEventElapsedTime(ms, a, b); }

static void log_kernel(const char *entry, double seconds, const char *said) {
    const char *path = getenv("TU_KERNEL_LOG");
    FILE *log = path ? fopen(path, "a") : NULL;
    if (!log) return;
    fprintf(log, "%s\t%.2f\t", entry, seconds);
    for (const char *c = said; *c; c++) fputc(*c == '\n' || *c == '\t' ? ' ' : *c, log);
    fputc('\n', log);
    fclose(log);
}

CUresult cuModuleLoadData(void **out, const void *image) {
    *out = &module;
    const char *ptx = image, *entry = strstr(ptx, ".entry ");
    char name[256] = "unknown", said[4096] = "not assembled";
    if (entry) sscanf(entry + 7, "%255[^( \n]", name);
    double seconds = 0;
    CUresult result = SUCCESS;
    const char *ptxas = getenv("PTXAS");
    if (ptxas) {
        char path[] = "/tmp/kernel-XXXXXX", command[1024];
        int file = mkstemp(path);
        if (file < 0 || write(file, ptx, strlen(ptx)) < 0) return INVALID_VALUE;
        close(file);
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        snprintf(command, sizeof command, "'%s' -v -arch=sm_90a -o /dev/null %s 2>&1", ptxas, path);
        FILE *pipe = popen(command, "r");
        size_t length = pipe ? fread(said, 1, sizeof said - 1, pipe) : 0;
        said[length] = 0;
        if (!pipe || pclose(pipe) != 0) {
            result = INVALID_PTX;
            fprintf(stderr, "ptxas refuses %s: %s\n", name, said);
        }
        clock_gettime(CLOCK_MONOTONIC, &to);
        seconds = (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
        unlink(path);
    }
    log_kernel(name, seconds, said);
    return result;
}
CUresult cuModuleGetFunction(void **out, void *m, const char *name) { (void)m; (void)name; *out = &function; return SUCCESS; }
CUresult cuModuleUnload(void *m) { (void)m; return SUCCESS; }
CUresult cuFuncSetAttribute(void *f, int attribute, int value) {
    (void)f;
    return attribute == 8 && value > 232448 ? INVALID_VALUE : SUCCESS; /* dynamic shared memory */
}
CUresult cuFuncGetAttribute(int *value, int attribute, void *f) { (void)f; (void)attribute; *value = 0; return SUCCESS; }
CUresult cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                        void *s, void **parameters, void **extra) {
    (void)f; (void)s; (void)parameters; (void)extra;
    int fits = gx > 0 && gy > 0 && gz > 0 && gy <= 65535 && gz <= 65535 && bx > 0 && by > 0 && bz > 0 && bz <= 64 &&
               bx * by * bz <= 1024 && shared <= 232448;
    return fits ? SUCCESS : INVALID_VALUE;
}

/* Descriptors of bulk copies: 128 bytes that nobody looks at. */
CUresult cuTensorMapEncodeTiled(void *map) { memset(map, 0, 128); return SUCCESS; }
CUresult cuTensorMapEncodeIm2col(void *map) { memset(map, 0, 128); return SUCCESS; }
CUresult cuTensorMapEncodeIm2colWide(void *map) { memset(map, 0, 128); return SUCCESS; }

CUresult cuStreamBeginCapture_v2(void *s, int mode) { (void)s; (void)mode; return SUCCESS; }
CUresult cuStreamEndCapture(void *s, void **out) { (void)s; *out = &graph; return SUCCESS; }

CUresult cuGetErrorName(CUresult error, const char **name) { *name = error ? "CUDA_ERROR" : "CUDA_SUCCESS"; return SUCCESS; }
CUresult cuGetErrorString(CUresult error, const char **text) { *text = error ? "refused by the stand-in" : "no error"; return SUCCESS; }
