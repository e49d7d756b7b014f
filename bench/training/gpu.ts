/**
 * Measures the speed of a GPU through the npm package `webgpu`: matrix products by shape, memory traffic, and training
 * steps. Products and steps are compared with PyTorch on the same card, if `python3` has it there, and steps also with
 * the CPU engine.
 *
 *   npm run build && npx tsx bench/training/gpu.ts                     all parts, in float32
 *   npx tsx bench/training/gpu.ts --math f16
 *   npx tsx bench/training/gpu.ts --only training --shape L
 *   npx tsx bench/training/gpu.ts --quick --out FILE                   the smallest sizes, for tests
 *
 * Rows are written one by one to docs/results/gpu-NAME.json, where NAME is the name of the GPU. A software device
 * computes on the processor; its figures are not a GPU's, and need --out.
 */
import { dirname, resolve } from 'node:path'
import { Command, Option } from 'commander'
import { listWithOr, suggestion } from '../../src/core/config/problems.ts'
import type { RunConfig } from '../../src/core/config/run-config.ts'
import { RunError, UsageError } from '../../src/core/errors.ts'
import type { Precision } from '../../src/engine/contract/runtime.ts'
import { listOption, mathOption, numberOption, ranges } from '../../src/faces/cli/options.ts'
import { loadConfig } from '../../src/node/run/load-config.ts'
import { openRuntime } from '../../src/node/run/session.ts'
import { findPeerDevice } from '../peers/python.ts'
import { runCommand, turnsOption } from '../support/command.ts'
import { Results, resultFile, shownPath, thisMachine } from '../support/results.ts'
import { measureMemory, measureProducts } from './gpu/ceilings.ts'
import { peakOf, reportText } from './gpu/report.ts'
import {
  type Card,
  cardName,
  findCard,
  type GpuRow,
  keyOf,
  type MissingRow,
  missing,
  type Part,
  parts,
  rowFacts,
} from './gpu/rows.ts'
import { type GpuShapeName, gpuShapes, measureTraining } from './gpu/training.ts'

interface Flags {
  readonly only?: readonly string[]
  readonly shape?: readonly string[]
  readonly math: Precision
  readonly turns: number
  readonly threads: number
  readonly quick?: boolean
  readonly out?: string
}

const shapes = Object.keys(gpuShapes) as readonly GpuShapeName[]

await runCommand(
  new Command('npx tsx bench/training/gpu.ts')
    .description('Measures training on a GPU, its matrix products and its memory.')
    .addOption(listOption('--only <part>', `measure only this part: ${parts.join(', ')}; repeatable`))
    .addOption(listOption('--shape <name>', `train only this shape: ${shapes.join(', ')}; repeatable`))
    .addOption(mathOption().default('float32'))
    .addOption(turnsOption().default(3))
    .addOption(numberOption('--threads <n>', 'threads of the CPU engine', ranges.positiveInteger).default(2))
    .addOption(new Option('--quick', 'only the smallest sizes, a step a turn'))
    .option('--out <file>', 'JSON file to write (default: docs/results/gpu-NAME.json)')
    .action(run),
)

async function run({ only, shape, math, turns, threads, quick = false, out }: Flags): Promise<void> {
  const selected = { parts: choicesOf('only', only, parts), shapes: choicesOf('shape', shape, shapes) }
  const config = await loadConfig('S', ['runtime.device=webgpu', `runtime.math=${math}`])
  const card = await findCard()
  const file = outputFile(card, out)
  await checkMath(config)
  const peer = await findPeerDevice().catch(missing)
  const results = await Results.open<GpuRow>(file, keyOf, thisMachine(threads))
  const put = (row: GpuRow): Promise<void> => results.put(row)
  const measures: Readonly<Record<Part, () => Promise<void>>> = {
    matmul: () => measureProducts(card, { quick, config }, peer, put),
    memory: () => measureMemory(card, { quick, config }, put),
    training: async () => {
      for (const name of selected.shapes ?? (quick ? ['tiny'] : ['S', 'M', 'L'])) {
        process.stderr.write(`  training, ${name} ...\n`)
        const peakGflops = peakOf(results.rows, math)
        const options = { math, threads, turns: quick ? 1 : turns, quick, peer, peakGflops }
        await put(await measureTraining(card, name, options).catch((error) => missingTraining(card, name, math, error)))
      }
    },
  }
  for (const part of selected.parts ?? parts) {
    if (part !== 'training') process.stderr.write(`  ${part} ...\n`)
    await measures[part]()
  }
  const { name, description, software } = card.adapter
  const head = `${name}${description && ` (${description})`}`
  process.stdout.write(`\n  ${head}\n${reportText(results.rows)}\n  ${shownPath(file)}\n`)
  if (software) process.stdout.write('  a software device computes on the processor: these are not figures of a GPU\n')
}

/** The values of a repeatable option; undefined if it is not given. @throws UsageError for a value outside `all` */
function choicesOf<Name extends string>(
  option: string,
  given: readonly string[] | undefined,
  all: readonly Name[],
): readonly Name[] | undefined {
  return given?.map((text) => {
    const found = all.find((name) => name === text)
    if (found) return found
    throw new UsageError(`invalid --${option}: "${text}" (expected ${listWithOr(all)}${suggestion(text, all)})`)
  })
}

/** @throws UsageError if figures of a software device would be stored with figures of GPUs */
function outputFile(card: Card, out: string | undefined): string {
  const published = resultFile(cardName(card))
  const file = out === undefined ? published : resolve(out)
  const { name, software } = card.adapter
  if (software && dirname(file) === dirname(published))
    throw new UsageError(
      `${out === undefined ? 'missing' : 'invalid'} --out: ${name} is a software device, whose figures are not a GPU's ` +
        '(expected a file outside docs/results)',
    )
  return file
}

/** @throws UsageError if the GPU does not compute in the requested precision */
async function checkMath(config: RunConfig): Promise<void> {
  const runtime = await openRuntime(config)
  await runtime.close()
  if (runtime.math !== config.runtime.math)
    throw new UsageError(`invalid --math: "${config.runtime.math}" (${runtime.notice})`)
}

/** The row of a training that failed, most likely because the model does not fit into the GPU. */
function missingTraining(card: Card, name: string, math: Precision, error: unknown): MissingRow {
  if (!(error instanceof RunError)) throw error
  return { part: 'training', ...rowFacts(card, name, math), ...missing(error) }
}
