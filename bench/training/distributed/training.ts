/** Worlds that train a few steps at a time, in turns. */
import { fileURLToPath } from 'node:url'
import { routingSets } from '../../../src/core/config/presets.ts'
import type { RankSteps } from './summary.ts'
import { type Place, World } from './world.ts'

export interface Pace {
  /** Steps before the first turn, which do not count. */
  readonly warmUp: number
  /** Number of turns of each side, and of steps in a turn. */
  readonly turns: number
  readonly steps: number
}

export interface Setting {
  readonly shape: string
  readonly pace: Pace
  readonly place: Place
  /** Where ranks compute. Default: the processor. */
  readonly device?: 'cpu' | 'webgpu'
}

const program = fileURLToPath(new URL('./training-rank.mjs', import.meta.url))

/** Layout of a training on `ranks` ranks, groups of `expert` of which share the experts. */
export interface Layout {
  readonly name: string
  readonly ranks: number
  readonly expert: number
  readonly sets?: readonly string[]
  /** False for a process without mpirun. */
  readonly launched?: boolean
}

/** Settings of a training: top-1 routing with a capacity, and one thread a rank. */
export const trainingSets = ({ expert, sets = [] }: Pick<Layout, 'expert' | 'sets'>): string[] => [
  ...routingSets('top-1'),
  'runtime.threads=1',
  ...(expert > 1 ? [`parallel.expert=${expert}`] : []),
  ...sets,
]

export function startTraining({ shape, place, device = 'cpu' }: Omit<Setting, 'pace'>, layout: Layout): Promise<World> {
  const { name, ranks, launched } = layout
  const args = [shape, ...trainingSets(layout), `runtime.device=${device}`]
  return World.start({ ...place, ranks, name, launched, program: [process.execPath, program], args })
}

/** Lets worlds take turns. @returns The answers of the ranks of each world, [worlds][turns][ranks]. */
export async function alternate(
  starts: readonly (() => Promise<World>)[],
  { warmUp, turns, steps }: Pace,
): Promise<RankSteps[][][]> {
  const worlds: World[] = []
  try {
    for (const start of starts) {
      const world = await start()
      worlds.push(world)
      await world.ask({ run: warmUp })
    }
    const answers: RankSteps[][][] = worlds.map(() => [])
    for (let turn = 0; turn < turns; turn++)
      for (const [i, world] of worlds.entries()) answers[i]?.push(await world.ask<RankSteps>({ run: steps }))
    return answers
  } finally {
    await Promise.all(worlds.map((world) => world.stop()))
  }
}

export interface Variant {
  /** Empty for the default settings. */
  readonly name: string
  readonly sets: readonly string[]
}

/** Settings whose effect on communication is measured. */
export const variants: readonly Variant[] = [
  { name: '', sets: [] },
  { name: 'without overlap', sets: ['parallel.overlap=false'] },
]
