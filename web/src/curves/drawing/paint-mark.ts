/** A vertical line at one x, such as the current step of a replay, which lines are drawn over. */
import type { Ink } from './figure.ts'
import { type Frame, toX } from './paint.ts'
import type { Surface } from './surface.ts'

export function paintMark(
  surface: Surface,
  frame: Frame,
  mark: number,
  unit: number,
  { text }: Pick<Ink, 'text'>,
): void {
  const { box } = frame
  const x = toX(frame, mark)
  surface.clipTo(box, () => {
    surface.line([x, box.top, x, box.top + box.height], { color: text, width: unit })
  })
}
