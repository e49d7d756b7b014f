import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { hostOf } from '../contract/arena.ts'
import { createArena } from './cpu-arena.ts'
import { mapFile } from './mapped-file.ts'

const UNIT = 65536
const canMap = process.platform === 'linux' || process.platform === 'darwin'

/** Maps a file of this many random bytes over an arena that is full of ones. */
function mapped(size: number, arenaBytes = 4 * UNIT) {
  const folder = mkdtempSync(join(tmpdir(), 'choir-mapped-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'weights')
  const bytes = Buffer.from(Array.from({ length: size }, (_, i) => (i * 2654435761) >>> 24))
  writeFileSync(path, bytes)
  const arena = createArena(arenaBytes)
  const memory = new Uint8Array(hostOf(arena).buffer)
  memory.fill(1)
  const file = openSync(path, 'r')
  const count = mapFile(hostOf(arena), file, size)
  closeSync(file)
  return { path, bytes, arena, memory, count }
}

test.runIf(canMap)('the whole units of a file are in the memory, and nothing else changes', () => {
  const { bytes, memory, count } = mapped(2 * UNIT + 100)
  expect(count).toBe(2 * UNIT)
  expect(Buffer.compare(memory.subarray(0, count), bytes.subarray(0, count))).toBe(0)
  expect(memory.subarray(count).every((byte) => byte === 1)).toBe(true)
})

test.runIf(canMap)('what is written to the memory does not reach the file', () => {
  const { path, bytes, memory } = mapped(2 * UNIT)
  memory.fill(7)
  expect(Buffer.compare(readFileSync(path), bytes)).toBe(0)
})

test.runIf(canMap)('a kernel reads the mapped bytes by the memory of WebAssembly', () => {
  const { bytes, arena } = mapped(2 * UNIT)
  // (module (import "m" "m" (memory 1 65536 shared)) (func (export "at") (param i32) (result i32)
  //   local.get 0 i32.load8_u))
  const code = Uint8Array.of(
    ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 1, 127, 1, 127],
    ...[2, 11, 1, 1, 109, 1, 109, 2, 3, 1, 128, 128, 4, 3, 2, 1, 0],
    ...[7, 6, 1, 2, 97, 116, 0, 0, 10, 9, 1, 7, 0, 32, 0, 45, 0, 0, 11],
  )
  type Wasm = { Module: new (code: Uint8Array) => object; Instance: new (m: object, i: object) => { exports: object } }
  const { Module, Instance } = (globalThis as unknown as { WebAssembly: Wasm }).WebAssembly
  const { exports } = new Instance(new Module(code), { m: { m: hostOf(arena).memory } })
  const { at } = exports as { at: (address: number) => number }
  for (const address of [0, 1, UNIT, 2 * UNIT - 1]) expect(at(address)).toBe(bytes[address])
})

test('a file below one unit is left to the caller', () => {
  const { memory, count } = mapped(UNIT - 1)
  expect(count).toBe(0)
  expect(memory.every((byte) => byte === 1)).toBe(true)
})

test.runIf(canMap)('a file that cannot be mapped leaves the memory as it was', () => {
  const arena = createArena(UNIT)
  const memory = new Uint8Array(hostOf(arena).buffer).fill(3)
  expect(mapFile(hostOf(arena), 9999, UNIT)).toBe(0)
  expect(memory.every((byte) => byte === 3)).toBe(true)
})
