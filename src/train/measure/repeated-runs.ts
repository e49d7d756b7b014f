/** Measures the time of a program in the memory where its runtime computes. */
import type { Program } from '../../core/graph/program.ts'
import type { ArenaRange } from '../../engine/contract/arena.ts'
import type { PortMemory, Runtime } from '../../engine/contract/runtime.ts'

/**
 * Total time of the runs that are enqueued together on a device, ms: much more than enqueuing them and waiting takes.
 */
const TOGETHER_MS = 20

/**
 * Seconds of a run of a program: the best of `runs`, after one warm-up run. The runs of a device are so short that
 * enqueuing one and waiting for it takes longer, so each of the measurements is the mean of several runs.
 * @param shared Outputs that use the memory of an input: the name of the input by the name of the output.
 */
export async function secondsOfRun(
  runtime: Runtime,
  program: Program,
  runs: number,
  shared: Readonly<Record<string, string>> = {},
): Promise<number> {
  const executable = await runtime.compile(program)
  const memory: Record<string, PortMemory> = {}
  const { inputs, outputs } = executable.model
  for (const { name, shape } of [...inputs, ...outputs])
    memory[name] =
      memory[shared[name] ?? ''] ??
      (await portMemory(
        runtime,
        shape.reduce((size, d) => size * d, 1),
      ))
  const binding = executable.bind(memory)
  try {
    const time = async (count: number): Promise<number> => {
      const start = performance.now()
      for (let run = 0; run < count; run++) await binding.enqueue()
      await runtime.synchronize()
      return (performance.now() - start) / count
    }
    await time(1)
    const together = runtime.defers ? Math.ceil(TOGETHER_MS / (await time(1))) : 1
    let best = Number.POSITIVE_INFINITY
    for (let run = 0; run < runs; run++) best = Math.min(best, await time(together))
    return best / 1000
  } finally {
    binding.release()
    executable.release()
    for (const range of Object.values(memory)) if ('arena' in range) range.arena.release()
  }
}

/**
 * Numbers where the runtime computes: in an array of this process, or in an arena of a device, so that no copies are
 * made.
 */
async function portMemory(runtime: Runtime, count: number): Promise<Float32Array | ArenaRange> {
  const values = mixedNumbers(count)
  if (!runtime.defers) return values
  const arena = runtime.createArena(4 * count)
  await arena.write(0, values)
  return { arena, start: 0, count }
}

/** Numbers from -0.5 to 0.5. Equal numbers would let a GPU that is limited by its power run faster. */
function mixedNumbers(count: number): Float32Array {
  const values = new Float32Array(count)
  const block = Math.min(count, 1021)
  for (let i = 0; i < block; i++) values[i] = ((i * 7919) % 1021) / 1020 - 0.5
  for (let filled = block; filled < count; filled *= 2) values.copyWithin(filled, 0, filled)
  return values
}
