import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { stalePartsOf, staleText } from '../../bin/stale-build.js'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'choir-stale-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

/** Writes a file of the checkout, dated some seconds after the first one. */
function write(path: string, seconds: number): void {
  const file = join(root, path)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, '')
  utimesSync(file, 1e9 + seconds, 1e9 + seconds)
}
const kernel = 'src/engine/cpu/wasm/assembly/sums.ts'
function checkout(): void {
  for (const source of ['src/core/cleanup.ts', kernel, 'web/src/page.tsx']) write(source, 0)
  const built = ['dist/engine/cpu/wasm/kernels.wasm', 'dist/faces/cli/program/process.js', 'dist/share/index.html']
  for (const [i, path] of built.entries()) write(path, 10 + i)
}

test('a build after the last edit is not stale', () => {
  checkout()
  expect(stalePartsOf(root)).toEqual([])
})

test.each([
  ['program', 'src/core/cleanup.ts'],
  ['kernels', kernel],
  ['pages', 'web/src/page.tsx'],
])('a source that is newer than the built %s is named, with the command to run', (name, path) => {
  checkout()
  write(path, 100)
  const source = join(path)
  expect(stalePartsOf(root)).toEqual([{ name, source }])
  expect(staleText({ name, source })).toBe(
    `${source} is newer than the build of the ${name} in dist/, which is used as it is (run: npm run build)`,
  )
})

test('a test that is newer than the build does not make it stale', () => {
  checkout()
  for (const path of ['src/core/cleanup.test.ts', 'src/core/testing/fake.ts', 'web/src/page.test.ts']) write(path, 100)
  expect(stalePartsOf(root)).toEqual([])
})

test('a part that was never built is stale', () => {
  checkout()
  rmSync(join(root, 'dist/engine'), { recursive: true })
  expect(stalePartsOf(root)).toEqual([{ name: 'kernels', source: join(kernel) }])
})

test('an installed package, which has no sources, is never stale', () => {
  checkout()
  rmSync(join(root, 'src'), { recursive: true })
  write('web/src/page.tsx', 100)
  expect(stalePartsOf(root)).toEqual([])
})
