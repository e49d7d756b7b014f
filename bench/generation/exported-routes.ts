/**
 * Measures how often the exports of a run choose the experts that the run chooses, layer by layer, on windows of a text.
 * The exports are computed by other programs (bench/measure/exported-routes.ts), and rounded weights by Choir.
 *
 *   npx tsx bench/generation/exported-routes.ts runs/demo --data moby-dick
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { sumOf } from '../../src/core/averages.ts'
import { UsageError } from '../../src/core/errors.ts'
import { percent } from '../../src/core/text/numbers.ts'
import { numberOption, ranges } from '../../src/faces/cli/options.ts'
import { heldOutBatches } from '../../src/train/data/batches.ts'
import { compileTracer } from '../../src/use/infer/compiled-tracer.ts'
import type { WeightFormat } from '../../src/use/infer/quantized/weight-format.ts'
import { type ExportDtype, type ExportFormat, exportFormats } from '../../src/use/interchange/export/contract.ts'
import { exportRun } from '../../src/use/interchange/export/export.ts'
import { openEvaluationText } from '../../src/use/runs/evaluation-text.ts'
import { loadModel } from '../../src/use/runs/trained-model.ts'
import {
  ggufRoutes,
  hfRoutes,
  onnxRoutes,
  type RoutesOfExports,
  sameRoutes,
  type WindowRoutes,
} from '../measure/exported-routes.ts'
import { runCommand, tableText } from '../support/command.ts'

interface Flags {
  readonly data: string
  readonly windows: number
}

const programs: Readonly<Record<ExportFormat, RoutesOfExports>> = { hf: hfRoutes, onnx: onnxRoutes, gguf: ggufRoutes }
const types: Readonly<Record<ExportFormat, readonly ExportDtype[]>> = {
  hf: ['float32', 'bf16'],
  onnx: ['float32'],
  gguf: ['float32', 'f16', 'q8_0', 'q4_0'],
}

await runCommand(
  new Command('npx tsx bench/generation/exported-routes.ts')
    .description('Measures how often the exports of a run, and its rounded weights, choose the experts of the run.')
    .argument('<run>', 'run directory')
    .requiredOption('--data <source>', 'text: a corpus name, file or folder')
    .addOption(numberOption('--windows <n>', 'windows of the text', ranges.positiveInteger).default(32))
    .action(measure),
)

async function measure(run: string, { data, windows: count }: Flags): Promise<void> {
  const { model, windows, routes } = await ownRoutes(run, data, count)
  const rows: string[][] = []
  const add = (name: string, theirs: readonly WindowRoutes[]) => {
    const shares = sameRoutes(routes, theirs)
    rows.push([name, ...[...shares, sumOf(shares) / shares.length].map((share) => percent(share, 2))])
  }
  for (const weights of ['bf16', 'int8', 'int4'] as const)
    add(`choir, ${weights}`, (await ownRoutes(run, data, count, weights)).routes)
  const folder = await mkdtemp(join(tmpdir(), 'choir-exported-'))
  try {
    for (const format of exportFormats)
      for (const dtype of types[format]) {
        const out = join(folder, `${format}-${dtype}`)
        try {
          await exportRun(run, { format, dtype, out })
        } catch (error) {
          if (!(error instanceof UsageError)) throw error
          process.stderr.write(`  ${format} cannot hold this model: ${error.message}\n`)
          break
        }
        const [theirs] = await programs[format]([{ folder: out, model }], windows)
        if (theirs) add(`${format}, ${dtype}`, theirs)
        else process.stderr.write(`  ${format}: no program is here that reads ${dtype}\n`)
      }
  } finally {
    await rm(folder, { recursive: true })
  }
  const tokens = windows.reduce((sum, window) => sum + window.length, 0)
  const routers = (routes[0] ?? []).map((_, i) => `router ${i}`)
  process.stdout.write(
    `${tableText([['export', ...routers, 'all'], ...rows], `l${'r'.repeat(routers.length + 1)}`)}\n  same experts, of ${tokens} tokens\n`,
  )
}

/** The first windows of the text as evaluations read it, and their experts without a capacity. */
async function ownRoutes(run: string, source: string, count: number, weights: WeightFormat = 'float32') {
  const trained = await loadModel(run, { weights }, () => {})
  const { tracer, batch } = await compileTracer(trained, 'none')
  const data = await openEvaluationText(trained, source, {})
  const { sequence } = trained.config.model
  const windows: Int32Array[] = []
  const routes: WindowRoutes[] = []
  try {
    for (const _ of heldOutBatches(data.heldOut, { batch, sequence }, tracer.batch)) {
      const { tokens, targets } = tracer.batch
      const { routers } = await tracer.run('eval', 0)
      for (let row = 0; row < batch && windows.length < count; row++) {
        // The last window of a text is filled up with other text.
        if (targets.subarray(row * sequence, (row + 1) * sequence).includes(-1)) continue
        windows.push(tokens.slice(row * sequence, (row + 1) * sequence))
        routes.push(
          routers.map(({ expert_TK }) => {
            const choices = expert_TK.length / tokens.length
            const first = row * sequence
            return Array.from({ length: sequence }, (_, t) => [
              ...expert_TK.subarray((first + t) * choices, (first + t + 1) * choices),
            ])
          }),
        )
      }
      if (windows.length === count) break
    }
    return { model: trained.config.model, windows, routes }
  } finally {
    await data.close()
    tracer.release()
    await trained.close()
  }
}
