/**
 * A crew without threads: runs a staged program on the calling thread, with its tasks in any order on any of
 * several contexts, as threads might. If two orders give different results, a kernel has a bug.
 */
import type { StagedModel } from '../../src/core/graph/stages/contract.ts'
import type { Runtime } from '../../src/engine/contract/runtime.ts'
import { RuntimeError } from '../../src/engine/contract/runtime-error.ts'
import { compileSession } from '../../src/engine/cpu/onnxruntime/compile.ts'
import { acquireEnvironment, releaseEnvironment } from '../../src/engine/cpu/onnxruntime/environment.ts'
import type { Session, SessionBinding } from '../../src/engine/cpu/onnxruntime/session.ts'
import { Mlas } from '../../src/engine/cpu/primitives/mlas/mlas.ts'
import { Dnnl } from '../../src/engine/cpu/primitives/onednn/dnnl.ts'
import { findDnnl } from '../../src/engine/cpu/primitives/onednn/library.ts'
import type { Primitives } from '../../src/engine/cpu/primitives/primitives.ts'
import type { KernelCall, KernelThread } from '../../src/engine/cpu/staged/contract.ts'
import type { Crew } from '../../src/engine/cpu/staged/crew.ts'
import { StagedExecutable } from '../../src/engine/cpu/staged/executable.ts'
import { opKernels } from '../../src/engine/cpu/staged/kernels/table.ts'
import type { Script } from '../../src/engine/cpu/staged/script.ts'
import { kernelModule, opFunctions } from '../../src/engine/cpu/wasm/module.ts'
import { createArena } from '../../src/engine/native/cpu-arena.ts'
import { buffersFor, type Values } from './kernel-check.ts'

/** An order of the tasks of a step, and the thread of each. */
export type Order = (tasks: number) => readonly { readonly task: number; readonly thread: number }[]

/** Outputs of a program by name, computed with tasks in the given order. */
export async function runWithOrder(
  runtime: Runtime,
  model: StagedModel,
  values: Values,
  order: Order,
  threads = runtime.threads,
): Promise<Values> {
  const sessions: SessionBinding[] = []
  const environment = acquireEnvironment()
  let script: Script | undefined
  const crew = {
    open(given: Script) {
      script = given
      return 0
    },
    close() {},
  } as unknown as Crew
  const executable = await StagedExecutable.compile(
    {
      crew,
      threads,
      profile: false,
      library: 'oneDNN',
      exchanges: false,
      async compile(onnx) {
        const session = await compileSession(environment, onnx, { threads: 1, profile: false, onFreed() {} })
        const bind: Session['bind'] = (ports) => {
          const binding = session.bind(ports)
          sessions.push(binding)
          return binding
        }
        return { bind, release: () => session.release() } as Session
      },
      isOutgrown: () => false,
      memory: (bytes) => createArena(Math.max(bytes, 1)),
      explain: () => new RuntimeError('an ONNX stage failed'),
      onFreed() {},
    },
    model,
  )
  const buffers = buffersFor(model, values, false)
  executable.bind(buffers)
  if (!script) throw new Error('the program was not opened')
  await walk(script, sessions, await contexts(script, threads, runtime.math), order)
  executable.release()
  releaseEnvironment()
  return Object.fromEntries(model.outputs.map(({ name }) => [name, buffers[name] as Values[string]]))
}

async function walk(script: Script, sessions: SessionBinding[], threads: KernelThread[], order: Order): Promise<void> {
  const bytes = new Uint8Array(script.memory.buffer)
  // Kernels must not rely on zeros.
  bytes.fill(0xff)
  for (const { offset, bytes: data } of script.constants) bytes.set(data, offset)
  let session = 0
  for (const step of script.steps) {
    if (step.kind === 'onnx') {
      sessions[session++]?.runSync()
      continue
    }
    const prepared = threads.map((thread) => opKernels[step.call.kernel]?.prepare(step.call as KernelCall, thread))
    for (const { task, thread } of order(prepared[0]?.tasks ?? 0)) prepared[thread]?.run(task)
  }
}

/** Primitives are created once for all programs, as on threads. */
const libraries = new Map<string, Primitives>()
function primitivesOf(thread: number, math: Runtime['math']): Primitives {
  const library = findDnnl()
  const known = libraries.get(`${thread} ${math}`) ?? ('path' in library ? new Dnnl(library.path, math) : new Mlas())
  libraries.set(`${thread} ${math}`, known)
  return known
}

async function contexts(script: Script, threads: number, math: Runtime['math']): Promise<KernelThread[]> {
  const module = await kernelModule()
  const functions = opFunctions(module, script.memory)
  return script.scratch.slice(0, threads).map((scratch, thread) => ({
    threads,
    group: null,
    primitives: primitivesOf(thread, math),
    functions,
    floats: new Float32Array(script.memory.buffer),
    integers: new Int32Array(script.memory.buffer),
    scratch,
    memories: [
      { memory: script.memory, scratch: scratch.offset },
      ...script.beside.map((each) => ({ ...each, scratch: each.scratch?.[thread] ?? null })),
    ].map(({ memory: { buffer }, scratch }, i) => ({
      functions:
        i === 0 ? functions : opFunctions(module, (script.beside[i - 1] as (typeof script.beside)[number]).memory),
      bytes: new Uint8Array(buffer),
      floats: new Float32Array(buffer),
      scratch,
    })),
  }))
}
