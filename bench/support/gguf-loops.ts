/**
 * Computes the logits of a GGUF file by plain loops, as llama.cpp computes its architecture. Properties that depend on
 * the architecture alone (how pairs are rotated, whether gates are divided by their sum) are decided here by its name,
 * and by nothing else.
 */
import { RunError } from '../../src/core/errors.ts'
import { DiskFile } from '../../src/node/run/checkpoint/tensor-files.ts'
import { decoderOf } from '../../src/use/foreign/decode/decoder.ts'
import { type GgufHeader, type GgufValue, readGgufHeader } from '../../src/use/foreign/gguf/header.ts'

/** A GGUF file: its metadata, and its tensors as float32. */
export class OpenGguf {
  private readonly header: GgufHeader
  private readonly file: DiskFile

  private constructor(file: DiskFile, header: GgufHeader) {
    this.file = file
    this.header = header
  }

  static async open(path: string): Promise<OpenGguf> {
    const file = await DiskFile.open(path)
    try {
      return new OpenGguf(file, await readGgufHeader(file))
    } catch (error) {
      await file.close()
      throw error
    }
  }

  close(): Promise<void> {
    return this.file.close()
  }

  get metadata(): ReadonlyMap<string, GgufValue> {
    return this.header.metadata
  }

  number(key: string, fallback?: number): number {
    const value = this.metadata.get(key) ?? fallback
    if (typeof value !== 'number') throw new RunError(`the GGUF file has no number ${key}`)
    return value
  }

  has(tensor: string): boolean {
    return this.header.tensors.has(tensor)
  }

  /** The numbers of a tensor. @param index Index of its first dimension; default: all of it. */
  async tensor(name: string, index: number | null = null): Promise<Float32Array> {
    const entry = this.header.tensors.get(name)
    if (!entry) throw new RunError(`the GGUF file has no tensor ${name}`)
    const parts = index === null ? 1 : (entry.shape[0] as number)
    const bytes = new Uint8Array((entry.end - entry.begin) / parts)
    await this.file.read(bytes, entry.begin + (index ?? 0) * bytes.length)
    const values = new Float32Array(entry.shape.reduce((product, length) => product * length, 1) / parts)
    decoderOf(entry.dtype).decode(bytes.buffer, values)
    return values
  }
}

/** Properties of llama.cpp's computation of an architecture that are not in metadata and tensors. */
interface Rules {
  /** Whether neighbours are rotated instead of halves. */
  readonly neighbours: boolean
  /** Whether the gates of a token are divided by their sum. */
  readonly divides: boolean
}

const rules: Readonly<Record<string, Rules>> = {
  llama: { neighbours: true, divides: true },
  granite: { neighbours: true, divides: true },
  granitemoe: { neighbours: true, divides: true },
  qwen2: { neighbours: false, divides: false },
  qwen2moe: { neighbours: false, divides: false },
  qwen3: { neighbours: false, divides: false },
  qwen3moe: { neighbours: false, divides: true },
  olmoe: { neighbours: false, divides: false },
}

type Row = Float64Array

/** Takes the experts of each token of a layer, the best first. */
type OnChoice = (chosen: readonly (readonly number[])[]) => void

/** Logits [T, V] of one sequence. @param onChoice Called for each layer with experts, in their order. */
export async function ggufLogits(
  file: OpenGguf,
  tokens: Int32Array,
  onChoice: OnChoice = () => {},
): Promise<Float32Array> {
  const name = file.metadata.get('general.architecture') as string
  const shape = shapeOf(file, name, rules[name] as Rules)
  const embedding = await file.tensor('token_embd.weight')
  const { width, embeddingScale, residualScale } = shape
  let x: Row[] = Array.from(tokens, (token) =>
    Float64Array.from(embedding.subarray(token * width, (token + 1) * width), (value) => value * embeddingScale),
  )
  for (let layer = 0; layer < shape.layers; layer++) {
    const read: Read = (tensor, expert) => file.tensor(`blk.${layer}.${tensor}`, expert)
    const maybe = async (tensor: string) => (file.has(`blk.${layer}.${tensor}`) ? read(tensor) : null)
    const branch = (rows: readonly Row[]) =>
      x.map((row, t) => row.map((value, i) => value + residualScale * ((rows[t] as Row)[i] as number)))
    const normed = async (tensor: string) => {
      const weight = await read(tensor)
      return x.map((row) => rmsNorm(row, weight, shape.epsilon))
    }
    x = branch(await attention(shape, await normed('attn_norm.weight'), read, maybe, await rotaryDivisors(file)))
    const rows = await normed('ffn_norm.weight')
    const isSparse = file.has(`blk.${layer}.ffn_gate_inp.weight`)
    x = branch(await (isSparse ? mixture(shape, rows, read, maybe, onChoice) : network(rows, read)))
  }
  const weight = await file.tensor('output_norm.weight')
  const head = file.has('output.weight') ? await file.tensor('output.weight') : embedding
  const logits = x.flatMap((row) => [...product(head, rmsNorm(row, weight, shape.epsilon))])
  return Float32Array.from(logits, (logit) => logit / shape.logitScale)
}

const rotaryDivisors = async (file: OpenGguf): Promise<Float32Array | null> =>
  file.has('rope_freqs.weight') ? file.tensor('rope_freqs.weight') : null

type Shape = ReturnType<typeof shapeOf>

function shapeOf(file: OpenGguf, name: string, rules: Rules) {
  const number = (key: string, fallback?: number) => file.number(`${name}.${key}`, fallback)
  const width = number('embedding_length')
  const heads = number('attention.head_count')
  const head = number('attention.key_length', width / heads)
  const { neighbours, divides } = rules
  return {
    neighbours,
    divides,
    width,
    heads,
    head,
    layers: number('block_count'),
    keyHeads: number('attention.head_count_kv', heads),
    epsilon: number('attention.layer_norm_rms_epsilon'),
    base: number('rope.freq_base', 10_000),
    slowing: number('rope.scaling.factor', 1),
    experts: number('expert_count', 0),
    used: number('expert_used_count', 0),
    scale: number('attention.scale', 1 / Math.sqrt(head)),
    embeddingScale: number('embedding_scale', 1),
    residualScale: number('residual_scale', 1),
    logitScale: number('logit_scale', 1),
  }
}

/** Reads a tensor of a layer, or the part of one expert. */
type Read = (tensor: string, expert?: number) => Promise<Float32Array>
type Maybe = (tensor: string) => Promise<Float32Array | null>

/** The product of a matrix [out, in] and a vector, plus a bias. */
function product(matrix: Float32Array, x: Row, bias: Float32Array | null = null): Row {
  const inputs = x.length
  return Float64Array.from({ length: matrix.length / inputs }, (_, row) => {
    let sum = bias ? (bias[row] as number) : 0
    for (let i = 0; i < inputs; i++) sum += (matrix[row * inputs + i] as number) * (x[i] as number)
    return sum
  })
}

function rmsNorm(x: Row, weight: Float32Array, epsilon: number): Row {
  const square = x.reduce((sum, value) => sum + value * value, 0) / x.length
  return x.map((value, i) => (value / Math.sqrt(square + epsilon)) * (weight[i] as number))
}

async function attention(shape: Shape, rows: readonly Row[], read: Read, maybe: Maybe, divisors: Float32Array | null) {
  const { head, heads, keyHeads } = shape
  const project = async (which: string, count: number): Promise<Row[][]> => {
    const [matrix, bias] = [await read(`attn_${which}.weight`), await maybe(`attn_${which}.bias`)]
    const norm = which === 'v' ? null : await maybe(`attn_${which}_norm.weight`)
    const isOverAll = norm !== null && norm.length !== head
    return rows.map((row, position) => {
      const plain = product(matrix, row, bias)
      const all = isOverAll ? rmsNorm(plain, norm, shape.epsilon) : plain
      return Array.from({ length: count }, (_, h) => {
        const cut = all.slice(h * head, (h + 1) * head)
        const one = norm && !isOverAll ? rmsNorm(cut, norm, shape.epsilon) : cut
        return which === 'v' ? one : rotated(shape, one, position, divisors)
      })
    })
  }
  const [q, k, v] = [await project('q', heads), await project('k', keyHeads), await project('v', keyHeads)]
  const [output, bias] = [await read('attn_output.weight'), await maybe('attn_output.bias')]
  return rows.map((_, t) => {
    const y = new Float64Array(heads * head)
    for (let h = 0; h < heads; h++) {
      const shared = Math.floor((h * keyHeads) / heads)
      const query = q[t]?.[h] as Row
      const scores = Float64Array.from({ length: t + 1 }, (_, s) => shape.scale * dot(query, k[s]?.[shared] as Row))
      for (const [s, weight] of softmax(scores).entries()) {
        const value = v[s]?.[shared] as Row
        for (let i = 0; i < head; i++) y[h * head + i] = (y[h * head + i] as number) + weight * (value[i] as number)
      }
    }
    return product(output, y, bias)
  })
}

const dot = (a: Row, b: Row): number => a.reduce((sum, value, i) => sum + value * (b[i] as number), 0)

function softmax(scores: Row): Row {
  const largest = scores.reduce((most, score) => Math.max(most, score), -Infinity)
  const powers = scores.map((score) => Math.exp(score - largest))
  const total = powers.reduce((sum, power) => sum + power, 0)
  return powers.map((power) => power / total)
}

function rotated({ head, base, slowing, neighbours }: Shape, x: Row, position: number, divisors: Float32Array | null) {
  const y = x.slice()
  for (let i = 0; i < head / 2; i++) {
    const angle = (position * base ** ((-2 * i) / head)) / slowing / (divisors?.[i] ?? 1)
    const [a, b] = neighbours ? [2 * i, 2 * i + 1] : [i, i + head / 2]
    const [first, second] = [x[a] as number, x[b] as number]
    y[a] = first * Math.cos(angle) - second * Math.sin(angle)
    y[b] = second * Math.cos(angle) + first * Math.sin(angle)
  }
  return y
}

interface Network {
  readonly gate: Float32Array
  readonly up: Float32Array
  readonly down: Float32Array
}

function swiglu({ gate, up, down }: Network, x: Row): Row {
  const [gates, values] = [product(gate, x), product(up, x)]
  return product(
    down,
    gates.map((value, i) => (value / (1 + Math.exp(-value))) * (values[i] as number)),
  )
}

const networkOf = async (read: Read, suffix: string, expert?: number): Promise<Network> => ({
  gate: await read(`ffn_gate${suffix}.weight`, expert),
  up: await read(`ffn_up${suffix}.weight`, expert),
  down: await read(`ffn_down${suffix}.weight`, expert),
})

async function network(rows: readonly Row[], read: Read): Promise<Row[]> {
  const weights = await networkOf(read, '')
  return rows.map((row) => swiglu(weights, row))
}

async function mixture(
  { experts, used, divides }: Shape,
  rows: readonly Row[],
  read: Read,
  maybe: Maybe,
  onChoice: OnChoice,
) {
  const router = await read('ffn_gate_inp.weight')
  const hasShared = (await maybe('ffn_up_shexp.weight')) !== null
  const shared = hasShared ? await networkOf(read, '_shexp') : null
  const mix = await maybe('ffn_gate_inp_shexp.weight')
  const gates = rows.map((row) => {
    const probability = softmax(product(router, row))
    const chosen = [...probability.keys()]
      .sort((a, b) => (probability[b] as number) - (probability[a] as number))
      .slice(0, used)
    const total = divides ? chosen.reduce((sum, e) => sum + (probability[e] as number), 0) : 1
    return new Map(chosen.map((e) => [e, (probability[e] as number) / total]))
  })
  onChoice(gates.map((gate) => [...gate.keys()]))
  const outputs = rows.map((row) => new Float64Array(row.length))
  const add = (t: number, values: Row, factor: number) => {
    const y = outputs[t] as Row
    for (let i = 0; i < y.length; i++) y[i] = (y[i] as number) + factor * (values[i] as number)
  }
  // Only experts that a token chose are read: of many experts, few tokens choose few.
  for (let e = 0; e < experts; e++) {
    if (!gates.some((each) => each.has(e))) continue
    const expert = await networkOf(read, '_exps', e)
    for (const [t, row] of rows.entries()) {
      const gate = gates[t]?.get(e)
      if (gate !== undefined) add(t, swiglu(expert, row), gate)
    }
  }
  if (shared)
    for (const [t, row] of rows.entries())
      add(t, swiglu(shared, row), mix ? 1 / (1 + Math.exp(-(product(mix, row)[0] as number))) : 1)
  return outputs
}
