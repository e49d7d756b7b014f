/** `choir train --simulate-ranks`: measures one rank of a world of many, in this process alone. */
import type { RunConfig } from '../../../core/config/run-config.ts'
import { UsageError } from '../../../core/errors.ts'
import { worldOf } from '../../../engine/world/mpi/world.ts'
import { expectDeviceOf } from '../../../node/train/layout.ts'
import { loadPlannedRun } from '../../../tools/plan/inputs/load-plan.ts'
import { simulationEventText, simulationText } from '../display/plan/simulation.ts'
import { print } from '../display/print.ts'
import { colorsFor, Interrupted, type Io, interruptible } from '../io.ts'
import { writeJson } from '../json.ts'

/** Default number of steps. The first step is not timed. */
const STEPS = 3

export interface SimulateFlags {
  readonly ranks: number
  readonly steps: number | undefined
  /** Index of the GPU that computes. */
  readonly gpu: number | undefined
  readonly json: boolean
  /** Flags that were given but do not apply to a simulation, such as `--out`. */
  readonly others: readonly string[]
}

export async function simulateRank(
  io: Io,
  name: string,
  sets: readonly string[],
  { ranks, steps = STEPS, gpu, json, others }: SimulateFlags,
): Promise<void> {
  const [other] = others
  if (other !== undefined)
    throw new UsageError(`invalid --simulate-ranks: not with ${other} (a simulation writes no run and reads none)`)
  if (worldOf(io.env))
    throw new UsageError('invalid --simulate-ranks: not in a job of several ranks (start it without mpirun)')
  // The presets of the planner are accepted; its section `plan` is not a part of the simulated run.
  const { plan: _, ...config } = await loadPlannedRun(name, sets)
  expectDeviceOf(gpu, config)
  if (config.runtime.device === 'cpu') await calibrate(io, config, json)
  const simulation = await interruptible(io, (signal) =>
    io.operations.simulate(config, {
      ranks,
      steps,
      gpu,
      signal,
      onEvent: (event) => (json ? writeJson(io, event) : print(io, simulationEventText(event))),
    }),
  )
  if (simulation.interrupted) throw new Interrupted()
  if (json) writeJson(io, { kind: 'simulation', ...simulation })
  else print(io, simulationText(simulation, name, colorsFor(io.stdout, io.env)))
}

/**
 * Calibrates the planner, in a process of its own: calibration and simulation both measure the peak memory of their
 * process. The process shows its progress on standard error, unless lines of JSON are wanted.
 */
async function calibrate(io: Io, { runtime: { threads, math } }: RunConfig, json: boolean): Promise<void> {
  const engine = [`runtime.math=${math}`, ...(threads === undefined ? [] : [`runtime.threads=${threads}`])]
  const sets = engine.flatMap((set) => ['--set', set])
  await io.runSelf(['plan', 'tiny', '--cluster', 'local', ...(json ? ['--json'] : []), ...sets])
}
