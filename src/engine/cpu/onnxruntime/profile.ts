/**
 * Profiles of ONNX Runtime. It records every kernel into a trace file; we sum the times by node and report
 * them by op and layer. The file has one event per line and can exceed the longest string that JavaScript
 * can hold, so it is read line by line.
 */
import { closeSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Origin } from '../../../core/graph/model.ts'
import type { NodeTime, StepEvent } from '../../contract/times.ts'
import { Out, type Pointer } from '../../native/ffi.ts'
import { koffi } from '../../native/koffi.ts'
import type { OrtApi } from './api.ts'
import { expectSuccess, findOrigin } from './errors.ts'

const folders = new Set<string>()

/** A temporary folder for the recording of a session; removed by {@link removeProfileFolder} or at exit. */
export function createProfileFolder(): string {
  if (folders.size === 0) process.once('exit', removeAll)
  const folder = mkdtempSync(join(tmpdir(), 'choir-profile-'))
  folders.add(folder)
  return folder
}

/** Call after the session is released: a session that still records writes its file then. */
export function removeProfileFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true })
  folders.delete(folder)
  if (folders.size === 0) process.off('exit', removeAll)
}

function removeAll(): void {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
}

/** The recording of a session, from its compilation on. */
export interface Recording {
  /** Number of recorded runs: all, or as many as fit into a million events. */
  readonly runs: number
  /** Times of the nodes, the slowest first. */
  readonly nodes: readonly NodeTime[]
  /** The nodes of the last recorded run; times in ms from its start. */
  readonly last: readonly StepEvent[]
}

/** Ends the recording of a session and deletes its file. */
export function endProfile(api: OrtApi, session: Pointer, origins: ReadonlyMap<string, Origin>): Recording {
  const out = new Out()
  expectSuccess(api, api.GetAllocatorWithDefaultOptions(out.address))
  const allocator = out.value
  expectSuccess(api, api.SessionEndProfiling(session, allocator, out.address))
  const file = koffi.decode.string(out.value)
  expectSuccess(api, api.AllocatorFree(allocator, out.value))
  try {
    return readRecording(lines(file), origins)
  } finally {
    rmSync(file, { force: true })
  }
}

const kernelTime = '_kernel_time'

interface TraceEvent {
  readonly name: string
  /** Start and duration, in microseconds. */
  readonly ts: number
  readonly dur: number
  readonly args: NodeArgs
}

interface NodeArgs extends Shapes {
  readonly op_name: string
  /** Sizes of inputs computed by other nodes, of constants, and of outputs: bytes, as text. */
  readonly activation_size?: string
  readonly parameter_size?: string
  readonly output_size?: string
}

/** Sums the kernel times in the lines of a trace by node. */
export function readRecording(trace: Iterable<string>, origins: ReadonlyMap<string, Origin>): Recording {
  const nodes = new Map<string, { kind: string; runs: number; microseconds: number; work: Work }>()
  let runs = 0
  let run: TraceEvent[] = []
  let last: TraceEvent[] = []
  let lastStart = 0
  for (const line of trace) {
    const isNode = line.includes(kernelTime)
    if (!isNode && !line.includes('"model_run"')) continue
    const event = JSON.parse(line.replace(/,\s*$/, '')) as TraceEvent
    if (!isNode) {
      runs++
      last = run
      lastStart = event.ts
      run = []
      continue
    }
    if (!event.name.endsWith(kernelTime)) continue
    const name = nodeName(event)
    let node = nodes.get(name)
    if (!node) {
      node = { kind: event.args.op_name, runs: 0, microseconds: 0, work: workOf(event.args) }
      nodes.set(name, node)
    }
    node.runs++
    node.microseconds += event.dur
    run.push(event)
  }
  const originOf = (name: string, kind: string) => findOrigin(name, origins) ?? { op: kind, layer: '' }
  return {
    runs,
    nodes: [...nodes]
      .map(
        ([
          name,
          {
            kind,
            runs,
            microseconds,
            work: { flops, bytes },
          },
        ]) => ({
          kind,
          provider: 'ONNX Runtime' as const,
          ...originOf(name, kind),
          runs,
          microseconds,
          ...(flops !== undefined && { flops: flops * runs }),
          ...(bytes !== undefined && { bytes: bytes * runs }),
        }),
      )
      .sort((a, b) => b.microseconds - a.microseconds),
    last: last.map((event) => {
      const begin = (event.ts - lastStart) / 1000
      const kind = event.args.op_name
      return { thread: 0, name: kind, ...originOf(nodeName(event), kind), begin, end: begin + event.dur / 1000 }
    }),
  }
}

const nodeName = ({ name }: TraceEvent): string => name.slice(0, -kernelTime.length)

interface Work {
  readonly flops?: number
  readonly bytes?: number
}

/** Ops that read no more of their inputs than they write. */
const selecting = new Set(['Gather', 'GatherElements', 'GatherND', 'Slice', 'Split'])
/** Ops that usually move no data. */
const renaming = new Set(['Identity', 'Reshape', 'Squeeze', 'Unsqueeze', 'Flatten'])
const products = new Set(['MatMul', 'FusedMatMul', 'Gemm'])

/** Lower bounds of the work of a node in one run, as far as the recording tells. */
function workOf(args: NodeArgs): Work {
  const { op_name: kind, output_size, activation_size, parameter_size } = args
  const flops = products.has(kind) ? flopsOfProduct(args) : undefined
  const read = Number(activation_size) + Number(parameter_size)
  const written = Number(output_size)
  const bytes = selecting.has(kind) ? 2 * written : read + written
  return {
    ...(flops !== undefined && { flops }),
    ...(!renaming.has(kind) && Number.isFinite(bytes) && { bytes }),
  }
}

/** Shapes of operands. Each is the only value of an object, whose key is the type of the operand. */
interface Shapes {
  readonly input_type_shape?: readonly Readonly<Record<string, readonly number[]>>[]
  readonly output_type_shape?: readonly Readonly<Record<string, readonly number[]>>[]
}

/**
 * Operations 2·m·n·k of all products. Transposes do not matter: the last two dimensions of a are m and k in any order.
 */
function flopsOfProduct({ input_type_shape, output_type_shape }: Shapes): number | undefined {
  const a = Object.values(input_type_shape?.[0] ?? {})[0]
  const c = Object.values(output_type_shape?.[0] ?? {})[0]
  const [m] = c?.slice(-2) ?? []
  if (!a || !c || !m || a.length < 2 || c.length < 2) return undefined
  const k = ((a.at(-1) as number) * (a.at(-2) as number)) / m
  return 2 * k * c.reduce((product, d) => product * d, 1)
}

function* lines(file: string): Generator<string> {
  const chunk = Buffer.alloc(1 << 20)
  const descriptor = openSync(file, 'r')
  try {
    // In latin1 every byte is a character, so no chunk ends inside a character; names are ASCII.
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
