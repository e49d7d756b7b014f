import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { RuntimeError } from '../../contract/runtime.ts'
import { openApi } from './api.ts'
import { libraryPath } from './library.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'choir-library-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

test.each([
  ['darwin', 'arm64'],
  ['linux', 'arm64'],
  ['linux', 'x64'],
  ['win32', 'arm64'],
  ['win32', 'x64'],
])('the installed package has a library for %s/%s', (platform, architecture) => {
  expect(existsSync(libraryPath(platform, architecture))).toBe(true)
})

test('an unsupported platform is reported together with the supported ones', () => {
  const find = () => libraryPath('sunos', 'sparc')
  expect(find).toThrow(RuntimeError)
  expect(find).toThrow(/unsupported platform: sunos\/sparc .*linux\/x64/)
  expect(() => libraryPath('darwin', 'x64')).toThrow(/unsupported platform/)
})

test('a missing library is reported with its path and what to do', () => {
  expect(() => libraryPath('linux', 'x64', () => folder)).toThrow(/missing library: .*libonnxruntime\.so\.1.*npm ci/)
})

test('a file that is not a library gives one error with its path', () => {
  const file = join(folder, 'broken.so')
  writeFileSync(file, 'not a library')
  expect(() => openApi(file)).toThrow(RuntimeError)
  expect(() => openApi(file)).toThrow(/cannot load .*broken\.so.*npm ci/)
})
