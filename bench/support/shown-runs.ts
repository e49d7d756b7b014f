/** The runs that pictures show: `demo` with 16 experts for 400 steps, in four variants with the same seed. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { fileIn } from './results.ts'

const shared = [
  ...['model.moe.experts=16', 'model.moe.prototypes=1', 'train.steps=400'],
  ...['train.routingEvery=4', 'train.evalEvery=40'],
]
export const shownRuns = {
  'no-balancing': [...shared, 'model.moe.router=switch', 'model.moe.balance.coefficient=0'],
  'prototypes-2x1': [...shared, 'model.moe.prototypes=2'],
  'top-1': [...shared, 'model.moe.router=switch'],
  'top-2': [...shared, 'model.moe.router=top-k', 'model.moe.k=2'],
} as const
export type ShownRun = keyof typeof shownRuns

/** Trains a run into a folder. */
export async function trainShownRun(name: ShownRun, folder: string): Promise<void> {
  const sets = shownRuns[name]
  process.stderr.write(`  training ${sets.slice(shared.length).join(' ')} ...\n`)
  const settings = sets.flatMap((assignment) => ['--set', assignment])
  const args = [fileIn('bin/choir.js'), 'train', 'demo', ...settings, '--no-sample', '--out', folder, '--json']
  await promisify(execFile)(process.execPath, args, { maxBuffer: 1 << 28 })
}
