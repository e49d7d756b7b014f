/** One token: the experts that it chose in this layer, with their gates. */
import type { TokenRouter } from '../../../src/faces/watch/api.ts'
import { choiceName, fullGate } from './choices.ts'
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
