/** Experts that took a token, the most frequent first, each with the tokens that it took most often. A press on an expert highlights its tokens. */
import type { Signal } from '@preact/signals'
import { grouped } from '../../../src/core/text/numbers.ts'
import type { ExpertCount } from './choices.ts'
import type { Side } from './expert-colors.ts'
import { expertClass } from './expert-styles.ts'

interface ExpertLegendProps {
  readonly counts: readonly ExpertCount[]
  /** How many experts took tokens, of how many. */
  readonly about: string
  readonly marked: Signal<number | null>
  readonly side?: Side
}

export function ExpertLegend({ counts, about, marked, side = 0 }: ExpertLegendProps) {
  const tokens = counts.reduce((sum, entry) => sum + entry.tokens, 0)
  return (
    <div class="expert-legend">
      <p class="expert-legend-about">{about}</p>
      <ul>
        {counts.map((entry) => (
          <li key={entry.expert}>
            <button
              type="button"
              aria-pressed={marked.value === entry.expert}
              title={`Expert ${entry.expert}: ${((100 * entry.tokens) / tokens).toFixed(1)} % of the tokens`}
              onClick={() => (marked.value = marked.value === entry.expert ? null : entry.expert)}
            >
              <span class={`chip ${expertClass(entry.expert, side)}`}>
                <span class="hidden">Expert </span>
                {entry.expert}
              </span>
              <span class="hidden">: </span>
              {grouped(entry.tokens)}
              <span class="hidden"> tokens</span>
              {entry.most.length > 0 && <span class="expert-most">{entry.most.join(' · ')}</span>}
            </button>
          </li>
        ))}
      </ul>
    </div>
  )
}
