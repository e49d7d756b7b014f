/**
 * A file or folder of this package, such as `dist/engine/cpu/wasm/kernels.wasm`, by its path from the root. Threads,
 * processes and WASM are used as `npm run build` leaves them in `dist/`. (This file is as deep in `src/` as the
 * bundle in `dist/program/`.)
 */
export const packageFile = (path: string): URL => new URL(`../../${path}`, import.meta.url)
