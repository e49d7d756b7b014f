/** Scores of texts on a terminal: a table with a line for each text or choice, or a list of surprisals. */
import { dash, fixed, grouped, plural } from '../../../core/text/numbers.ts'
import { printable } from '../../../core/text/printable.ts'
import type { Scorable } from '../../../use/infer/scoring/scorable.ts'
import type { ContinuationScore, Score, TextScore } from '../../../use/infer/scoring/score.ts'
import type { ScoredItem } from '../../../use/runs/score.ts'
import type { Colors } from '../io.ts'
import { labelled } from './display.ts'

const titles = ['     total', '    mean', 'bits per byte', 'tokens', 'text'] as const
const GAP = '  '

/** The titles of the table of {@link scoreRows}. */
export const scoreTitles = ({ dim }: Colors): string => `  ${dim(titles.join(GAP))}\n`

/**
 * The lines of an item in the table. The choices of an item have a line each, which names the means by which the choice
 * is the best, below a line with their context.
 * @param room Columns of the terminal; texts are cut to fit.
 */
export function scoreRows({ item, score }: ScoredItem, colors: Colors, room = Infinity): string {
  const { bold, dim } = colors
  const row = (of: TextScore, text: string, note = ''): string => {
    const cells = [fixed(of.total, 3), fixed(of.mean, 3), fixed(of.bitsPerByte, 3), grouped(of.tokens.length)]
    const line = cells.map((cell, i) => cell.padStart(titles[i]?.length ?? 0)).join(GAP)
    const left = room - line.length - note.length - 6
    return `  ${line}${GAP}${cut(text, left)}${note && GAP}${bold(note)}\n`
  }
  if (!('choices' in score)) return row(score, textOf(item), greedyNote(score))
  const { context, texts } = choicesOf(item)
  const bests = (i: number): string =>
    [
      ...(score.best.total === i ? ['total'] : []),
      ...(score.best.mean === i ? ['mean'] : []),
      ...(score.best.perByte === i ? ['total per byte'] : []),
    ].join(', ')
  const rows = score.choices.map((choice, i) => row(choice, texts[i] ?? '', bests(i) && `best by ${bests(i)}`))
  return `  ${dim(cut(context, room - 2))}\n${rows.join('')}`
}

/** The tokens of an item with their surprisal, −log₂ of their probability, in bits. */
export function surprisalLines({ item, score }: ScoredItem, { dim }: Colors): string {
  if ('choices' in score) {
    const { texts } = choicesOf(item)
    return score.choices.map((choice, i) => surprisalList(choice, dim(cut(texts[i] ?? '')))).join('')
  }
  return surprisalList(score)
}

function surprisalList({ tokens }: TextScore, title = ''): string {
  const lines = tokens.map(({ text, logProbability }) => {
    const bits = logProbability === null ? dash : fixed(-logProbability / Math.LN2, 2)
    // As in JSON, without its quotation marks: a line break or a leading space is visible.
    return `${bits.padStart(8)}  ${printable(JSON.stringify(text).slice(1, -1))}\n`
  })
  return `${title && `  ${title}\n`}${lines.join('')}\n`
}

/** Totals over texts and continuations. */
export class ScoreTotals {
  private texts = 0
  private tokens = 0
  private nats = 0
  private bytes = 0

  add(score: Score): void {
    if ('choices' in score) return
    this.texts++
    this.tokens += score.tokens.filter(({ logProbability }) => logProbability !== null).length
    this.nats -= score.total
    this.bytes += -score.total / Math.LN2 / score.bitsPerByte || 0
  }

  /** Their loss as rows below the table; empty for a single text. */
  text(colors: Colors): string {
    if (this.texts < 2) return ''
    const loss = this.nats / this.tokens
    return `\n${labelled(
      [
        ['texts', `${plural(this.texts, 'text')}, ${plural(this.tokens, 'scored token')}`],
        ['loss', `${fixed(loss, 4)} nats a token, perplexity ${fixed(Math.exp(loss), 2)}`],
        ['bits per byte', fixed(this.nats / Math.LN2 / this.bytes, 4)],
      ],
      colors,
    )}`
  }
}

const greedyNote = (score: TextScore | ContinuationScore): string =>
  'isGreedy' in score && score.isGreedy ? 'greedy' : ''

const textOf = (item: Scorable): string =>
  typeof item === 'string' ? item : 'text' in item ? item.text : 'continuation' in item ? item.continuation : ''

const choicesOf = (item: Scorable): { context: string; texts: readonly string[] } =>
  typeof item !== 'string' && 'choices' in item
    ? { context: item.context, texts: item.choices }
    : { context: '', texts: [] }

/** The text on one line of at most `width` columns, at least 8. */
function cut(text: string, width = Infinity): string {
  const line = [...printable(text.replace(/\s/g, ' '))]
  const most = Math.max(8, width)
  return line.length <= most ? line.join('') : `${line.slice(0, most - 1).join('')}…`
}
