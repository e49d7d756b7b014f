/**
 * Imports a model as a run directory: reads its configuration, compares its tensors with the tensors of a model of this
 * configuration, and only then writes. One of our tensors is in memory at a time.
 */
import { sizeOf } from '../../../core/graph/shape.ts'
import { checkIsFree } from '../../../node/run/new-folder.ts'
import { initialScales } from '../../../train/step/store/initialize.ts'
import { type OurTensor, ourTensors } from '../../foreign/architectures/ours.ts'
import { foreignRunConfig, openForeignTokenizer, openForeignWeights, sequenceOf } from '../../foreign/foreign-model.ts'
import { openOrigin } from './origin.ts'
import { type ImportDtype, type ImportReport, mappedTensors, textsOf } from './report.ts'
import { addNoise, denseNameOf, newRouter, type Upcycling, upcycledModel } from './upcycle.ts'
import { type StoredAs, type StoredDtype, storedBytes, writeRun } from './write-run.ts'

export interface ImportOptions {
  /** How experts are made of a dense model's networks; default: they are not. */
  readonly upcycle?: Upcycling
  /**
   * Type in which weights are stored: `float32`, or with `source` that of the model, if it is bfloat16 or float16. What
   * is computed is the same; the checkpoints of a training that begins with them are float32. Default: `float32`.
   */
  readonly dtype?: ImportDtype
  /** Longest sequence, at most the longest of the model. Default: the longest of the model, at most 1,024. */
  readonly sequence?: number
  /** Seed of new routers and noise; default 0. */
  readonly seed?: number
  readonly signal?: AbortSignal
  /** Called after every tensor, with bytes of all tensors written so far and in total. */
  readonly onProgress?: (done: number, total: number) => void
}

/**
 * Imports a model.
 * @param folder A folder in Hugging Face's layout, a GGUF file, or, to upcycle it, the directory of a dense run.
 * @param out The new run directory.
 * @throws UsageError if Choir does not compute the model; RunError if files are missing or damaged
 */
export async function importModel(folder: string, out: string, options: ImportOptions = {}): Promise<ImportReport> {
  const { upcycle, dtype = 'float32', seed = 0, signal, onProgress } = options
  await checkIsFree(out)
  const origin = await openOrigin(folder, upcycle !== undefined)
  const { model: original, theirs } = origin
  const sequence = sequenceOf(original.sequence, options.sequence)
  const model = { ...(upcycle ? upcycledModel(original, upcycle) : original), sequence }
  const tokenizer = openForeignTokenizer(folder, origin, model.vocabulary)
  const config = foreignRunConfig({ ...origin.run, model })
  const weights = await openForeignWeights(folder, origin)
  try {
    const { stored } = weights
    const originOf = (name: string) => (upcycle ? denseNameOf(name) : name)
    const hasNoise = ({ name }: OurTensor) => Boolean(upcycle?.noise) && name.includes('.experts.')
    const ours = ourTensors(model).map((tensor): StoredAs => {
      const from = originOf(tensor.name)
      const keeps = dtype === 'source' && from !== null && !hasNoise(tensor)
      return { ...tensor, dtype: keeps ? storedType(tensor, weights.typesOf(from)) : 'F32' }
    })
    const uses = new Map<string, string[]>()
    for (const { name } of ours) {
      const from = originOf(name)
      if (from !== null) uses.set(from, [...(uses.get(from) ?? []), name])
    }
    const parameters = ours.reduce((sum, { shape }) => sum + sizeOf(shape), 0)
    const written = ours.reduce((sum, tensor) => sum + storedBytes(tensor), 0)
    const bytesByName = new Map(ours.map((tensor) => [tensor.name, storedBytes(tensor)]))
    const report: ImportReport = {
      kind: 'import',
      folder,
      directory: out,
      architecture: origin.architecture,
      parameters,
      bytes: { read: theirs.reduce((sum, { name }) => sum + bytesOf(stored.get(name)?.entry), 0), written },
      ...textsOf(tokenizer),
      notices: origin.notices,
      ignoredKeys: origin.ignoredKeys,
      ignoredTensors: weights.ignored,
      tensors: mappedTensors(theirs, uses, stored),
      storedAs: [...new Set(ours.map((tensor) => tensor.dtype))],
      made: ours.filter(({ name }) => originOf(name) === null).map(({ name, shape }) => ({ name, shape })),
    }
    const scale = initialScales(config).router
    let done = 0
    await writeRun(out, {
      config,
      tokenizer: origin.tokenizer,
      rules: origin.rules,
      data: origin.data,
      tensors: ours,
      report,
      async read(tensor) {
        signal?.throwIfAborted()
        const from = originOf(tensor.name)
        const values = from === null ? newRouter(tensor, seed, scale) : await weights.read(tensor, from)
        if (upcycle?.noise && hasNoise(tensor)) addNoise(values, tensor.name, seed, upcycle.noise)
        done += bytesByName.get(tensor.name) as number
        onProgress?.(done, written)
        return values
      },
    })
    return report
  } finally {
    await weights.close()
  }
}

/**
 * The type of two bytes in which all numbers of a tensor were, so that it keeps them exactly; float32 for any other, and
 * for an odd number of elements, since tensors in memory are whole floats.
 */
function storedType({ shape }: OurTensor, types: ReadonlySet<string>): StoredDtype {
  const [type, other] = types
  return other === undefined && (type === 'BF16' || type === 'F16') && sizeOf(shape) % 2 === 0 ? type : 'F32'
}

const bytesOf = (entry: { readonly begin: number; readonly end: number } | undefined): number =>
  entry ? entry.end - entry.begin : 0
