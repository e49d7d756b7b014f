/**
 * Compares this build with another one on the same machine. Both take turns at training steps, so that a busy moment
 * of the machine affects both. They train the same steps on the same tokens, and the losses of the last step are
 * compared too.
 *
 *   git worktree add ../before main && cd ../before && npm ci && npm run build && cd -
 *   npm run build && npx tsx bench/training/against.ts ../before --preset demo
 *   npx tsx bench/training/against.ts ../before --preset S --math bf16 --set model.moe.capacity=none --steps 2
 */
import { execFileSync } from 'node:child_process'
import { Command, Option } from 'commander'
import { median } from '../../src/core/averages.ts'
import { count, fixed, percent } from '../../src/core/text/numbers.ts'
import { jsonOption, mathOption, numberOption, ranges, setOption } from '../../src/faces/cli/options.ts'
import { choiceName, type EngineChoice, engines, TrainingProcess, type Turn, WARM_UP } from '../support/choir.ts'
import { runCommand, tableText, threadsOption, turnsOption } from '../support/command.ts'
import { using } from '../support/line-process.ts'
import { Results, thisMachine, today } from '../support/results.ts'

interface Flags extends EngineChoice {
  readonly preset: string
  readonly set?: readonly string[]
  readonly steps: number
  readonly turns: number
  readonly json?: true
  readonly out?: string
}

/** Medians over the timed steps. */
interface Side {
  readonly tokensPerSecond: number
  readonly stepMs: number
  readonly gradientMs: number
  readonly updateMs: number
  readonly mfu: number
  readonly peakMiB: number
  /** Loss of the last step. */
  readonly loss: number
}

export interface AgainstRow extends EngineChoice {
  readonly preset: string
  readonly sets: readonly string[]
  readonly date: string
  /** Commit of the other clone. */
  readonly against: string
  readonly steps: number
  readonly before: Side
  readonly now: Side
  /** Median over the turns: step time of the other build divided by this build's. Above 1, this build is faster. */
  readonly speedRatio: number
}

await runCommand(
  new Command('npx tsx bench/training/against.ts')
    .description('Trains with this build and with that of another clone of Choir, in turns, and compares their speed.')
    .argument('<clone>', 'folder of the other clone; run npm run build in both')
    .addOption(new Option('--preset <config>', 'preset or file to train').default('demo'))
    .addOption(setOption())
    .addOption(mathOption().choices(['float32', 'bf16']).default('float32'))
    .addOption(new Option('--engine <name>', 'library for matrix products').choices(engines).default('onednn'))
    .addOption(threadsOption())
    .addOption(numberOption('--steps <n>', 'steps of a turn', ranges.positiveInteger).default(4))
    .addOption(turnsOption().default(20))
    .addOption(jsonOption())
    .option('--out <file>', 'JSON file of rows: this one is added, or replaces that of the same settings')
    .action(run),
)

async function run(clone: string, flags: Flags): Promise<void> {
  const row = await measure(clone, flags)
  if (flags.json) process.stdout.write(`${JSON.stringify(row)}\n`)
  else process.stdout.write(report(row))
  if (flags.out === undefined) return
  const results = await Results.open<AgainstRow>(flags.out, keyOf, thisMachine(flags.threads))
  await results.put(row)
}

function keyOf(row: AgainstRow): string {
  return [row.preset, choiceName(row), ...row.sets].join(' ')
}

async function measure(clone: string, flags: Flags): Promise<AgainstRow> {
  const { preset, set: sets = [], math, engine, threads, steps, turns } = flags
  const start = (tree?: string) => TrainingProcess.start(preset, sets, { math, engine, threads }, tree)
  return using(start(clone), (other) =>
    using(start(), async (own) => {
      for (const side of [other, own]) await side.warmUp(WARM_UP)
      const rounds: (readonly [before: Turn, now: Turn])[] = []
      for (let turn = 0; turn < turns; turn++) rounds.push([await other.run(steps), await own.run(steps)])
      const [before, now] = rounds.at(-1) as (typeof rounds)[number]
      return {
        preset,
        sets,
        math,
        engine,
        threads,
        date: today(),
        against: commitOf(clone),
        steps: steps * turns,
        before: sideOf(before),
        now: sideOf(now),
        speedRatio: median(rounds.map(([before, now]) => median(before.ms) / median(now.ms))),
      }
    }),
  )
}

function commitOf(clone: string): string {
  return execFileSync('git', ['-C', clone, 'describe', '--always', '--dirty'], { encoding: 'utf8' }).trim()
}

function sideOf({ tokensPerSecond, stepMs, gradientMs, updateMs, mfu, peakBytes, loss }: Turn): Side {
  return { tokensPerSecond, stepMs, gradientMs, updateMs, mfu, peakMiB: peakBytes / 2 ** 20, loss }
}

function report({ preset, sets, before, now, speedRatio, ...choice }: AgainstRow): string {
  const head = ['', 'tokens/s', 'ms a step', 'gradient', 'update', 'MFU', 'peak MiB', 'loss']
  const cells = Object.entries({ before, now }).map(([name, side]) => [
    name,
    count(side.tokensPerSecond),
    fixed(side.stepMs, 2),
    fixed(side.gradientMs, 2),
    fixed(side.updateMs, 2),
    percent(side.mfu, 1),
    fixed(side.peakMiB, 0),
    String(side.loss),
  ])
  const losses = before.loss === now.loss ? 'the same loss' : `losses differ by ${Math.abs(before.loss - now.loss)}`
  const settings = [preset, choiceName(choice), ...sets].join(', ')
  return `\n  ${settings}\n${tableText([head, ...cells], 'lrrrrrrr')}\n  ${fixed(speedRatio, 3)} × the speed, ${losses}\n`
}
