import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { deleteLibraries, foreignLibraries } from './foreign-libraries.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-libraries-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const files = [
  'onnxruntime-node/package.json',
  'onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime.so.1',
  'onnxruntime-node/bin/napi-v6/linux/arm64/libonnxruntime.so.1',
  'onnxruntime-node/bin/napi-v6/win32/x64/onnxruntime.dll',
  'webgpu/index.js',
  'webgpu/dist/darwin-universal/dawn.node',
  'webgpu/dist/linux-x64/dawn.node',
  'tokenizers/index.js',
  'tokenizers/tokenizers.linux-x64-gnu.node',
  'tokenizers/tokenizers.linux-x64-musl.node',
  'tokenizers/tokenizers.linux-arm-gnueabihf.node',
  'tokenizers/tokenizers.darwin-arm64.node',
  'tokenizers/tokenizers.darwin-universal.node',
]

function install(): string {
  const root = mkdtempSync(join(folder, 'install-'))
  for (const file of files) {
    mkdirSync(dirname(join(root, file)), { recursive: true })
    writeFileSync(join(root, file), Buffer.alloc(100))
  }
  return root
}

test('the libraries of this platform stay, and so does every file that is not a library', () => {
  const left = (platform: string, architecture: string): string[] => {
    const root = install()
    deleteLibraries(foreignLibraries(platform, architecture, (name) => join(root, name)))
    return files.filter((file) => existsSync(join(root, file)))
  }
  const others = files.filter((file) => /package.json|index.js/.test(file))
  expect(left('linux', 'x64').filter((file) => !others.includes(file))).toEqual([
    'onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime.so.1',
    'webgpu/dist/linux-x64/dawn.node',
    'tokenizers/tokenizers.linux-x64-gnu.node',
    'tokenizers/tokenizers.linux-x64-musl.node',
  ])
  expect(left('linux', 'x64')).toEqual(expect.arrayContaining(others))
  // ONNX Runtime has no library for this platform here: its names may have changed, so nothing of it is deleted.
  expect(left('darwin', 'arm64').filter((file) => !others.includes(file))).toEqual([
    ...files.slice(1, 4),
    'webgpu/dist/darwin-universal/dawn.node',
    'tokenizers/tokenizers.darwin-arm64.node',
    'tokenizers/tokenizers.darwin-universal.node',
  ])
  expect(left('sunos', 'sparc')).toEqual(files)
})

test('the size of a package is the size of its foreign libraries; a package that is not installed is left out', () => {
  const root = install()
  const libraries = foreignLibraries('linux', 'x64', (name) => (name === 'webgpu' ? undefined : join(root, name)))
  expect(libraries.map(({ package: name, bytes }) => [name, bytes])).toEqual([
    ['onnxruntime-node', 200],
    ['tokenizers', 300],
  ])
})

test('in the packages of this installation, the libraries that this process loads stay', () => {
  const listed = foreignLibraries().flatMap(({ paths }) => paths.map((path) => relative(process.cwd(), path)))
  for (const path of listed) {
    expect(existsSync(path), path).toBe(true)
    expect(path.includes(process.platform) && path.includes(process.arch), path).toBe(false)
  }
})
