/**
 * A router drawn from recorded choices: the first tokens of a text at the left, a line from each to the experts that it
 * chooses, and at the right the choices of the whole text. What an expert refuses is dashed, pale and struck out.
 */
import { useEffect, useRef, useState } from 'preact/hooks'
import { plural } from '../../src/core/text/numbers.ts'
import type { Refusals, Routes } from './refusals.ts'

/** Tokens with lines, and the height of the row of an expert, in pixels. */
const TOKENS = 12
const ROW = 18
/** Space between the experts of two prototypes, in pixels. */
const BETWEEN = 12

interface RouterPictureProps {
  readonly tokens: readonly string[]
  readonly routes: Routes
  readonly prototypes: number
  readonly refusals: Refusals
  /** Whether the experts have a capacity; otherwise the dashed line is the fair share. */
  readonly limited: boolean
}

export function RouterPicture({ tokens, routes, prototypes, refusals, limited }: RouterPictureProps) {
  const box = useRef<HTMLDivElement>(null)
  const width = useWidth(box)
  const { of, choices, experts } = routes
  const { loads, capacity, refused, lost } = refusals
  const line = limited ? capacity : experts.length / of
  const rowOf = (expert: number) => ROW * (expert + 0.5) + BETWEEN * Math.floor((expert * prototypes) / of)
  const height = rowOf(of - 1) + ROW / 2
  const shown = tokens.slice(0, TOKENS)
  const narrow = width < 500
  const token = narrow ? 62 : 90
  const [router, names] = [token + (narrow ? 22 : 60), narrow ? 0.62 * width : 0.56 * width]
  const bars = names + 20
  const most = Math.max(line, ...loads)
  const x = (load: number) => bars + ((width - bars - 26) * load) / most
  const tokenY = (t: number) => ((t + 0.5) * height) / shown.length
  const busiest = loads.indexOf(Math.max(...loads))
  return (
    <div ref={box} class="router-picture">
      <svg
        width={width}
        height={height + 20}
        viewBox={`0 -16 ${width} ${height + 20}`}
        role="img"
        aria-label={`${plural(shown.length, 'token')} with lines to ${plural(of, 'expert')}. Expert ${busiest} is chosen most, ${plural(loads[busiest] ?? 0, 'time')} in the text${limited ? `; each has room for ${capacity}` : ''}.`}
      >
        <text x={bars} y={-5} class="small">
          {narrow ? 'choices' : 'choices in the whole text'}
        </text>
        {shown.map((_, t) =>
          experts.slice(t * choices, (t + 1) * choices).map((expert, c) => {
            const [from, to] = [tokenY(t), rowOf(expert)]
            const middle = (router + names) / 2
            return (
              <path
                key={`${t} ${c}`}
                class={`choice choice-${c} ${refused[t * choices + c] ? 'refused' : ''}`}
                d={`M${router + 9} ${from}C${middle} ${from} ${middle} ${to} ${names - 16} ${to}`}
              />
            )
          }),
        )}
        <rect class="router" x={router - 9} y={0} width={18} height={height} rx={4} />
        <text class="small" text-anchor="middle" transform={`translate(${router + 4} ${height / 2}) rotate(-90)`}>
          {prototypes > 1 ? `${prototypes} routers` : 'router'}
        </text>
        {shown.map((text, t) => (
          <g key={t}>
            <text x={token} y={tokenY(t) + 4} text-anchor="end" class={lost[t] ? 'lost' : ''}>
              {shortened(text)}
            </text>
            <path class="wire" d={`M${token + 5} ${tokenY(t)}H${router - 9}`} />
          </g>
        ))}
        {loads.map((load, expert) => {
          const y = rowOf(expert)
          const kept = Math.min(load, capacity)
          return (
            <g key={expert}>
              <text class="small" x={names + 14} y={y + 4} text-anchor="end">
                {expert}
              </text>
              <rect class="load" x={bars} y={y - 5} width={x(kept) - bars} height={10} />
              {load > kept && <rect class="load over" x={x(kept)} y={y - 5} width={x(load) - x(kept)} height={10} />}
            </g>
          )
        })}
        <path class="capacity" d={`M${x(line)} -2V${height + 2}`} />
        {/* Numbers are above the line, which would strike some of them out. */}
        {loads.map((load, expert) => (
          <text key={expert} class="small count" x={x(load) + 4} y={rowOf(expert) + 4}>
            {load}
          </text>
        ))}
      </svg>
    </div>
  )
}

/** The text of a token that fits beside the router. */
function shortened(text: string): string {
  const whole = text.trim() || '␣'
  return whole.length > 9 ? `${whole.slice(0, 8)}…` : whole
}

/** Width of an element in pixels. */
function useWidth(element: { readonly current: HTMLElement | null }): number {
  const [width, setWidth] = useState(640)
  useEffect(() => {
    if (!element.current) return undefined
    const observer = new ResizeObserver(([entry]) => {
      const { width = 0 } = entry?.contentRect ?? {}
      // Until the page is shown, it has no width.
      if (width > 0) setWidth(Math.max(280, Math.round(width)))
    })
    observer.observe(element.current)
    return () => observer.disconnect()
  }, [element])
  return width
}
