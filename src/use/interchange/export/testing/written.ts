/** Prepares and writes an export of a random model, without a run. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { runSchema } from '../../../../core/config/run-config.ts'
import type { Runtime } from '../../../../engine/contract/runtime.ts'
import { bytesTokenizer } from '../../../../train/data/tokenizer/tokenizer.ts'
import type { ExportDtype, Format, PreparedExport } from '../contract.ts'
import { weightsOf } from '../weights.ts'
import type { RandomModel } from './random-model.ts'

/** The tokenizer has a token per byte; a model with a smaller vocabulary knows only the first tokens. */
export async function writtenExport(
  format: Format,
  { config: model, store }: RandomModel,
  { runtime, folder, dtype = 'float32' }: { runtime: Runtime; folder: string; dtype?: ExportDtype },
): Promise<PreparedExport> {
  const config = { ...runSchema.parse({}), model }
  const prepared = await format.prepare({
    config,
    weights: weightsOf(store),
    tokenizer: bytesTokenizer(),
    runtime,
    dtype,
  })
  for (const { name, bytes, pieces } of prepared.files) {
    const contents = Buffer.concat(await Promise.all(pieces.map(({ read }) => read())))
    if (contents.length !== bytes) throw new Error(`${name} has ${contents.length} bytes, not ${bytes}`)
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), contents)
  }
  return prepared
}
