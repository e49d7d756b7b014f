/**
 * Where the time goes: ONNX Runtime records every kernel into a trace file; we add the times up by node
 * and tell them by op and layer. The file has one event a line and can exceed the longest string that
 * JavaScript can hold, so it is read line by line.
 */
import { closeSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import koffi from 'koffi'
import type { Origin } from '../../graph/model.ts'
import type { NodeTime } from '../contract.ts'
import type { Pointer } from '../ffi.ts'
import { type OrtApi, Out } from './api.ts'
import { expectSuccess, findOrigin } from './errors.ts'

const folders = new Set<string>()

/** A temporary folder for one session's recording; gone by {@link removeProfileFolder} or when the process exits. */
export function createProfileFolder(): string {
  if (folders.size === 0) process.once('exit', removeAll)
  const folder = mkdtempSync(join(tmpdir(), 'choir-profile-'))
  folders.add(folder)
  return folder
}

/** Call when the session is gone: one that still records writes its file when it is released. */
export function removeProfileFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true })
  folders.delete(folder)
  if (folders.size === 0) process.off('exit', removeAll)
}

function removeAll(): void {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
}

/** Ends the recording of a session; its file is deleted. Slowest nodes first. */
export function endProfile(api: OrtApi, session: Pointer, origins: ReadonlyMap<string, Origin>): readonly NodeTime[] {
  const out = new Out()
  expectSuccess(api, api.GetAllocatorWithDefaultOptions(out.address))
  const allocator = out.value
  expectSuccess(api, api.SessionEndProfiling(session, allocator, out.address))
  const file = koffi.decode.string(out.value)
  expectSuccess(api, api.AllocatorFree(allocator, out.value))
  try {
    return sumByNode(lines(file), origins)
  } finally {
    rmSync(file, { force: true })
  }
}

const kernelTime = '_kernel_time'

/** Adds up the kernel times in the lines of a trace, by node. */
export function sumByNode(trace: Iterable<string>, origins: ReadonlyMap<string, Origin>): readonly NodeTime[] {
  const nodes = new Map<string, { kind: string; runs: number; microseconds: number }>()
  for (const line of trace) {
    if (!line.includes(kernelTime)) continue
    const event = JSON.parse(line.replace(/,\s*$/, '')) as { name: string; dur: number; args: { op_name: string } }
    if (!event.name.endsWith(kernelTime)) continue
    const name = event.name.slice(0, -kernelTime.length)
    let node = nodes.get(name)
    if (!node) {
      node = { kind: event.args.op_name, runs: 0, microseconds: 0 }
      nodes.set(name, node)
    }
    node.runs++
    node.microseconds += event.dur
  }
  return [...nodes]
    .map(([name, node]) => ({
      ...node,
      provider: 'ONNX Runtime' as const,
      ...(findOrigin(name, origins) ?? { op: node.kind, layer: '' }),
    }))
    .sort((a, b) => b.microseconds - a.microseconds)
}

function* lines(file: string): Generator<string> {
  const chunk = Buffer.alloc(1 << 20)
  const descriptor = openSync(file, 'r')
  try {
    // latin1 keeps every byte a character, so that no chunk ends inside one; names are ASCII.
    let rest = ''
    for (let size = readSync(descriptor, chunk); size > 0; size = readSync(descriptor, chunk)) {
      const parts = (rest + chunk.toString('latin1', 0, size)).split('\n')
      rest = parts.pop() ?? ''
      yield* parts
    }
    yield rest
  } finally {
    closeSync(descriptor)
  }
}
