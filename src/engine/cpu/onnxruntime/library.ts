/**
 * Finds ONNX Runtime's library inside the npm package `onnxruntime-node`, which has one folder per platform.
 * Only that file is used, never the package's JavaScript, which copies every output.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { RuntimeError } from '../../contract/runtime.ts'
import { loadLibrary } from '../../native/ffi.ts'

const files: Readonly<Record<string, string>> = {
  'darwin/arm64': 'libonnxruntime.1.dylib',
  'linux/arm64': 'libonnxruntime.so.1',
  'linux/x64': 'libonnxruntime.so.1',
  'win32/arm64': 'onnxruntime.dll',
  'win32/x64': 'onnxruntime.dll',
}

/**
 * Path of the library for a platform and architecture, as Node names them.
 * @throws RuntimeError if the platform is unsupported, or the package or its library is missing.
 */
export function libraryPath(
  platform: string = process.platform,
  architecture: string = process.arch,
  packageFolder: () => string = installedFolder,
): string {
  const key = `${platform}/${architecture}`
  const file = files[key]
  if (file === undefined)
    throw new RuntimeError(
      `unsupported platform: ${key} (ONNX Runtime supports ${Object.keys(files).join(', ')}; run Choir on one of these)`,
    )
  const path = join(packageFolder(), 'bin', 'napi-v6', platform, architecture, file)
  if (!existsSync(path))
    throw new RuntimeError(`missing library: ${path} (reinstall the package with "npm ci", on this platform)`)
  return path
}

function installedFolder(): string {
  try {
    return dirname(createRequire(import.meta.url).resolve('onnxruntime-node/package.json'))
  } catch {
    throw new RuntimeError(
      'the package onnxruntime-node, which computes, is not installed (npm install onnxruntime-node)',
    )
  }
}

/** Loads the library at `path`. @throws RuntimeError if the system's loader refuses it. */
export function openLibrary(path: string): ReturnType<typeof loadLibrary> {
  try {
    return loadLibrary(path)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new RuntimeError(
      `cannot load ${path}: ${reason} (reinstall with "npm ci"; on Linux it needs glibc 2.28 or newer, not musl)`,
    )
  }
}
