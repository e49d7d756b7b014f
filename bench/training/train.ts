/**
 * `npm run bench` measures speed, memory and cost of training and generation on this machine.
 *
 *   npm run bench                                            Choir alone: `choir bench`
 *   npm run bench -- --peer pytorch --shape M                alternating with PyTorch, each routing
 *   npm run bench -- --peer pytorch --shape M --math bf16
 *   npm run bench -- --peer autocast --math bf16             against PyTorch's autocast, the usual way to use bf16
 *   npm run bench -- --peer pytorch --engine onnxruntime     Choir without oneDNN
 *   npm run bench -- --peer pytorch --generate --shape M     generation of one text at a time
 *   npm run bench -- --prototypes --shape M                  cost of prototypes against top-1
 *   npm run bench -- --profile --shape M                     share of a step outside matrix products
 *   npm run bench -- --targets                               all results against the targets
 *
 * Results are written to docs/results/ row by row; `--only` measures single rows again. The measurements are in
 * measure/.
 */
import { spawnSync } from 'node:child_process'
import { Command, Option } from 'commander'
import { UsageError } from '../../src/core/errors.ts'
import { mathOption } from '../../src/faces/cli/options.ts'
import { compare } from '../measure/compare.ts'
import { compareGeneration } from '../measure/compare-generation.ts'
import { profileStep } from '../measure/profile.ts'
import { comparePrototypes, prototypeRoutings } from '../measure/prototypes.ts'
import { checkChoice, type EngineChoice, engineEnvironment, engines } from '../support/choir.ts'
import {
  onlyOption,
  refuse,
  routingsOf,
  runCommand,
  shapeOption,
  threadsOption,
  turnsOption,
} from '../support/command.ts'
import { fileIn } from '../support/results.ts'
import { printTargets } from '../targets.ts'

interface Flags extends EngineChoice {
  readonly peer?: string
  readonly generate?: true
  readonly prototypes?: true
  readonly profile?: true
  readonly targets?: true
  readonly shape: string
  readonly only?: readonly string[]
  readonly turns: number
  readonly out?: string
}

/** Number of steps that a profile records. */
const RECORDED = 6

await runCommand(
  new Command('npm run bench --')
    .description('Measures this machine. Without options it runs choir bench.')
    .addOption(new Option('--peer <name>', 'compare Choir with this program').choices(['pytorch', 'autocast']))
    .option('--generate', 'with --peer: generate one text at a time instead of training')
    .option('--prototypes', 'measure the cost of prototypes at capacity 1x against top-1')
    .option('--profile', 'measure the share of a training step outside matrix products')
    .option('--targets', 'print the targets and the results so far')
    .addOption(shapeOption())
    .addOption(mathOption().choices(['float32', 'bf16']).default('float32'))
    .addOption(new Option('--engine <name>', 'library for matrix products').choices(engines).default('onednn'))
    .addOption(onlyOption())
    .addOption(turnsOption())
    .addOption(threadsOption())
    .option('--out <file>', 'JSON file to write (default: docs/results/NAME.json)')
    .action(run),
)

async function run(flags: Flags): Promise<void> {
  const { peer, generate, prototypes, profile, targets, only, math, engine, out } = flags
  const chosen = Object.entries({ peer, prototypes, profile, targets }).filter(([, value]) => value !== undefined)
  if (chosen.length > 1)
    throw new UsageError(
      `invalid options: ${chosen.map(([name]) => `--${name}`).join(' with ')} (expected one of them)`,
    )
  if (peer === undefined) refuse('requires --peer pytorch', { generate })
  checkChoice(flags)
  const autocast = peer === 'autocast'
  if (autocast && (math !== 'bf16' || generate))
    throw new UsageError('invalid --peer: "autocast" (expected --math bf16 with it, and no --generate)')
  if (targets) {
    refuse('not together with --targets, which measures nothing', { only, out })
    await printTargets()
  } else if (generate) {
    if (math === 'bf16')
      throw new UsageError('invalid --math: "bf16" with --generate (expected float32: Choir generates in float32)')
    if (engine === 'onnxruntime')
      throw new UsageError('invalid --engine: "onnxruntime" with --generate (expected onednn)')
    await compareGeneration({ ...flags, texts: flags.turns, routings: routingsOf(only ?? ['top-1']) })
  } else if (peer !== undefined) await compare({ ...flags, autocast, routings: routingsOf(only) })
  else if (prototypes) await comparePrototypes({ ...flags, routings: routingsOf(only, prototypeRoutings) })
  else if (profile) {
    const [routing, ...others] = routingsOf(only ?? ['top-1'])
    if (routing === undefined || others.length > 0)
      throw new UsageError(`invalid --only: ${only?.length} routings with --profile (expected one)`)
    await profileStep({ ...flags, routing, steps: RECORDED })
  } else runChoirBench(flags)
}

function runChoirBench({ shape, math, engine, threads, only, out }: Flags): void {
  const args = ['bench', '--shape', shape, '--math', math, '--threads', String(threads)]
  for (const routing of only ?? []) args.push('--only', routing)
  if (out !== undefined) args.push('--out', out)
  const command = [fileIn('bin/choir.js'), ...args]
  process.exitCode =
    spawnSync(process.execPath, command, { stdio: 'inherit', env: engineEnvironment(engine) }).status ?? 1
}
