/** One token: the experts that it chose in this layer, with their gates. */

import type { Signal } from '@preact/signals'
import { dash, grouped } from '../../../src/core/text/numbers.ts'
import type { TokenRouter } from '../../../src/faces/watch/api.ts'
import { routerNames } from '../shared/router-names.ts'
import { choiceName, type ExpertCount, expertOf, fullGate } from './choices.ts'
import type { Side } from './expert-colors.ts'
import { expertClass } from './expert-styles.ts'
import { piecesOf } from './pieces.ts'

interface TokenDetailProps {
  readonly token: string
  readonly index: number
  readonly router: TokenRouter
  /** Index of the coloured choice. */
  readonly choice: number
  readonly side: Side
}

export function TokenDetail({ token, index, router, choice, side }: TokenDetailProps) {
  const first = index * router.choices
  const full = fullGate(router)
  return (
    <div class="detail" aria-live="polite">
      <p>
        <code>{token === '' ? '' : piecesOf(token).map(({ text }) => text.replace(/^ /, '␣').replace('\n', ''))}</code>{' '}
        <small>token {index}</small>
      </p>
      <ul>
        {Array.from({ length: router.choices }, (_, each) => {
          const expert = router.expert[first + each] ?? -1
          const gate = router.gate?.[first + each]
          const isColoured = each === choice && router.choices > 1
          return (
            <li key={each} aria-current={isColoured}>
              {expert < 0 ? (
                <span>no expert</span>
              ) : (
                <span class={`chip ${expertClass(expert, side)}`}>
                  <span class="hidden">expert </span>
                  {expert}
                </span>
              )}
              <span class={isColoured ? 'detail-choice detail-chosen' : 'detail-choice'}>
                {choiceName(router, each) ?? 'expert'}
              </span>
              <span class="gate" aria-hidden="true">
                {gate !== undefined && <i class="gate-bar" style={{ width: `${(100 * gate) / full}%` }} />}
              </span>
              <span class="gate-value">{gate === undefined ? '' : gate.toFixed(3)}</span>
            </li>
          )
        })}
      </ul>
    </div>
  )
}

interface LayerStripProps {
  readonly routers: readonly TokenRouter[]
  readonly chosen: number
  readonly choose: (router: number) => void
  /** The current token, and its text; a trace has no text. */
  readonly token: number | null
  readonly text: string
  readonly choice: number
  readonly side: Side
}

export function LayerStrip({ routers, chosen, choose, token, text, choice, side }: LayerStripProps) {
  const names = routerNames(routers)
  const onKey = (event: KeyboardEvent) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key]
    const next = by === undefined ? undefined : chosen + by
    if (next === undefined || next < 0 || next >= routers.length) return
    event.preventDefault()
    choose(next)
    const strip = event.currentTarget as HTMLElement
    strip.querySelectorAll('button')[next]?.focus()
  }
  return (
    <div class="strip" role="radiogroup" aria-label="Layer" onKeyDown={onKey}>
      <span class="strip-title" aria-hidden="true">
        Layer
        <i class="strip-token">
          {token === null ? '' : text.trim() === '' ? `token ${token}` : `expert of “${text.trim()}”`}
        </i>
      </span>
      {routers.map((router, index) => {
        const expert = token === null ? -1 : expertOf(router, token, Math.min(choice, router.choices - 1))
        return (
          // biome-ignore lint/a11y/useSemanticElements: a cell with two lines, one of them coloured
          <button
            key={names[index]}
            type="button"
            role="radio"
            aria-checked={index === chosen}
            tabIndex={index === chosen ? 0 : -1}
            aria-label={`layer ${names[index]}${expert < 0 ? '' : `, expert ${expert}`}`}
            onClick={() => choose(index)}
          >
            {names[index]}
            <i class={`strip-expert ${expertClass(expert, side)}`}>{expert < 0 ? dash : expert}</i>
          </button>
        )
      })}
    </div>
  )
}

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
