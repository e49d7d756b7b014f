/** Programs beside each other: whether they compute the same bits, and how long they take. */
import { median } from '../../core/averages.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import type { Check } from './check.ts'
import type { TracedProgram } from './program.ts'

type Inputs = Readonly<Record<string, ArrayLike<number>>>

/**
 * Traces a program twice, once for each runtime, and compares outputs bit by bit: one that is drawn while it is traced
 * differs too.
 */
export async function checkRepeated(
  runtimes: readonly Runtime[],
  inputs: Inputs,
  trace: (runtime: Runtime) => Promise<TracedProgram>,
  found: string,
): Promise<Check> {
  const results: string[] = []
  for (const runtime of runtimes) {
    const program = await trace(runtime)
    const outputs = Object.entries(await program.run(inputs))
    results.push(
      outputs
        .map(
          ([of, values]) =>
            `${of} ${Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64')}`,
        )
        .join(),
    )
    program.release()
  }
  return {
    name: 'traced again, and with two threads instead of one, results have the same bits',
    passed: results.every((each) => each === results[0]),
    found,
  }
}

const TURNS = 9

/** Median time of the first program over that of the second, which run in turns. Both are released. */
export async function timeRatio(
  programs: readonly [
    { readonly program: TracedProgram; readonly inputs: Inputs },
    { readonly program: TracedProgram; readonly inputs: Inputs },
  ],
): Promise<number> {
  const timed = programs.map((each) => ({ ...each, times: [] as number[] }))
  for (let turn = 0; turn < TURNS + 2; turn++)
    for (const { program, inputs, times } of timed) {
      const began = performance.now()
      await program.run(inputs)
      if (turn >= 2) times.push(performance.now() - began)
    }
  for (const { program } of programs) program.release()
  const [mine = 0, theirs = 1] = timed.map(({ times }) => median(times))
  return mine / theirs
}
