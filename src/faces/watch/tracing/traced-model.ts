/** A model from a checkpoint of a run, by default the newest, with the text of the run. It answers one question at a time. */
import { physicalCores } from '../../../engine/native/cores.ts'
import { openRunData } from '../../../node/run/session.ts'
import type { Dataset, HeldOutDocument } from '../../../train/data/dataset.ts'
import { sampleWindows } from '../../../train/data/document-windows.ts'
import { pastedText, traceText } from '../../../use/infer/text-trace.ts'
import { frequentTokens, type SampledAssignments, sampledAssignments } from '../../../use/infer/top-tokens.ts'
import { type OpenTracer, openTracer } from '../../../use/runs/routing-trace.ts'
import { ProblemError } from '../../http/problem.ts'
import type { DocumentList, TopTokens } from '../api.ts'
import type { ExpertRef, HeldOutSentence, TraceInput, UnnamedTrace } from './messages.ts'
import { permittedData } from './permitted-data.ts'

/** Limits of the characters traced of a text, documents listed, tokens sampled, and tokens listed per expert. */
const limits = { characters: 20_000, documents: 1000, sample: 20_000, topTokens: 40 }
/** Characters of a sentence, and documents that are looked at for one that is long enough. */
const [MIN_SENTENCE, MAX_SENTENCE, MAX_LOOKED_AT] = [120, 320, 20]
/**
 * The model runs on the CPU with few threads: a training may need the other threads or the memory of a GPU, and this
 * machine may have no GPU.
 */
const engine = { device: 'cpu', math: 'float32', threads: Math.min(2, physicalCores()) } as const

export class TracedModel {
  private readonly open: OpenTracer
  private readonly directory: string
  private readonly readable: readonly string[]
  private opened: Promise<Dataset> | undefined
  private listed: Promise<DocumentList> | undefined
  private sampled: Promise<SampledAssignments> | undefined

  private constructor(open: OpenTracer, directory: string, readable: readonly string[]) {
    this.open = open
    this.directory = directory
    this.readable = readable
  }

  /**
   * Opens a checkpoint, by default the newest. It routes without a capacity limit, as in generation, because a text's trace must not
   * depend on the filler of its batch.
   * @param readable Real paths outside the run that may be read
   * @throws UsageError if there is no run or no checkpoint, or the model is dense
   */
  static async open(directory: string, readable: readonly string[], checkpoint?: number): Promise<TracedModel> {
    const choice = { ...engine, ...(checkpoint !== undefined && { checkpoint }) }
    return new TracedModel(await openTracer(directory, 'none', choice, () => {}), directory, readable)
  }

  /** Held-out documents; if there are too many to list, evenly spaced documents. */
  documents(): Promise<DocumentList> {
    this.listed ??= this.list().catch((error: unknown) => {
      this.listed = undefined
      throw error
    })
    return this.listed
  }

  trace(what: TraceInput): Promise<UnnamedTrace> {
    return 'text' in what ? this.traceText(what.text) : this.traceDocument(what.document)
  }

  /** The first sentences of the first held-out document that is long enough. */
  async sentence(): Promise<HeldOutSentence> {
    const data = await this.data()
    let longest: HeldOutSentence = { title: '', text: '' }
    let looked = 0
    for await (const document of data.heldOutDocuments()) {
      // A character has at most four tokens: those of its bytes.
      const ids = new Int32Array(Math.min(document.length - 1, 4 * MAX_SENTENCE))
      data.heldOut.read(document.start, ids)
      const text = beginningOf(this.open.tokenizer.decode(ids), MAX_SENTENCE)
      if (text.length > longest.text.length) longest = { title: titleOf(document), text }
      if (longest.text.length >= MIN_SENTENCE || ++looked === MAX_LOOKED_AT) break
    }
    if (longest.text === '') throw new ProblemError(409, 'No text is held out in this run.')
    return longest
  }

  async topTokens({ router, expert }: ExpertRef): Promise<TopTokens> {
    this.sampled ??= this.sample().catch((error: unknown) => {
      this.sampled = undefined
      throw error
    })
    const { step, tokenizer } = this.open
    return { step, ...frequentTokens(await this.sampled, { router, expert }, limits.topTokens, tokenizer.show) }
  }

  async close(): Promise<void> {
    await this.open.close()
    await (await this.opened)?.close()
  }

  private async traceText(text: string): Promise<UnnamedTrace> {
    const { tokenizer } = this.open
    // A surrogate pair must not be cut in half.
    const start = text.slice(0, limits.characters).replace(/[\ud800-\udbff]$/, '')
    const ids = await tokenizer.encode(start)
    if (ids.length === 0) throw new ProblemError(400, 'The tokenizer of this run makes no tokens of this text.')
    return traceText(this.open, pastedText(ids, tokenizer), start.length < text.length)
  }

  private async traceDocument(index: number): Promise<UnnamedTrace> {
    const data = await this.data()
    let i = 0
    for await (const { start, length } of data.heldOutDocuments())
      if (i++ === index)
        return traceText(this.open, { stream: data.heldOut, start: start - 1, length: length - 1, ends: true }, false)
    throw new ProblemError(404, `unknown document: ${index} (${i} are held out, from 0)`)
  }

  private async list(): Promise<DocumentList> {
    const { tokenizer } = this.open
    const { heldOut, heldOutDocuments } = await this.data()
    const count = Math.min(heldOut.documents, limits.documents)
    const documents: DocumentList['documents'][number][] = []
    let index = 0
    for await (const document of heldOutDocuments()) {
      const next = Math.floor(((documents.length + 0.5) * heldOut.documents) / count)
      if (index++ !== next) continue
      const ids = new Int32Array(document.length - 1)
      heldOut.read(document.start, ids)
      documents.push({ index: index - 1, title: titleOf(document), characters: tokenizer.decode(ids).length })
    }
    return { documents }
  }

  private async sample(): Promise<SampledAssignments> {
    const { config, tracer } = this.open
    const data = await this.data()
    const { windows } = await sampleWindows(data, { sequence: config.model.sequence, tokens: limits.sample })
    return sampledAssignments(tracer.trace(data.heldOut, windows))
  }

  private data(): Promise<Dataset> {
    const { open, directory } = this
    const { config, tokenizer } = open
    this.opened ??= permittedData(config.data, this.readable, directory)
      .then((data) => openRunData({ ...config, data }, { directory, tokenizer, onProgress: () => {} }))
      .catch((error: unknown) => {
        this.opened = undefined
        throw error
      })
    return this.opened
  }
}

/** The name of a document, followed by its metadata. */
function titleOf({ name, metadata = {} }: HeldOutDocument): string {
  const details = Object.values(metadata).filter((value) => value !== '' && !name.includes(String(value)))
  return details.length > 0 ? `${name} (${details.join(', ')})` : name
}

/**
 * The beginning of a text that is at most so long, cut after its last whole sentence, or else after its last word. It is
 * one paragraph: white space becomes one space.
 */
export function beginningOf(text: string, most: number): string {
  const flat = text.replaceAll('\ufffd', '').replace(/\s+/g, ' ').trim()
  if (flat.length <= most) return flat
  const start = flat.slice(0, most)
  const sentences = /^.*[.!?]["'”’)]?(?= )/s.exec(start)?.[0]
  if (sentences !== undefined && sentences.length >= most / 3) return sentences
  const words = /^.*\S(?= )/s.exec(start)?.[0]
  // A surrogate pair must not be cut in half.
  return words ?? start.replace(/[\ud800-\udbff]$/, '')
}
