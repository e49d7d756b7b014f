/** A strip to select a layer. It shows the expert of the current token in each layer. */
import { dash } from '../../../src/core/text/numbers.ts'
import type { TokenRouter } from '../../../src/faces/watch/api.ts'
import { routerNames } from '../experts/heat-map/order.ts'
import { expertOf } from './choices.ts'
import type { Side } from './expert-colors.ts'
import { expertClass } from './expert-styles.ts'

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
