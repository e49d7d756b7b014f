/**
 * Places labels without overlap.
 *
 * The method is greedy with a fixed order, so that the result is reproducible: labels in the most crowded places choose
 * first, and each takes the first free place around its point, near places before far places.
 */

export interface Rectangle {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

const overlap = (a: Rectangle, b: Rectangle): boolean =>
  a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height

const within = (a: Rectangle, b: Rectangle): boolean =>
  a.x >= b.x && a.y >= b.y && a.x + a.width <= b.x + b.width && a.y + a.height <= b.y + b.height

/**
 * Moves positions apart, by about as little as necessary, until each is at least `gap` below the position before it.
 *
 * @param wanted wanted positions, ascending
 */
export function spreadOut(wanted: readonly number[], gap: number, low: number, high: number): number[] {
  // Neighbours that are too close become a block around the mean of their wanted positions.
  const blocks: { sum: number; count: number }[] = []
  const startOf = ({ sum, count }: { sum: number; count: number }) => {
    const start = sum / count - (gap * (count - 1)) / 2
    return Math.max(low, Math.min(start, high - gap * (count - 1)))
  }
  for (const value of wanted) {
    let block = { sum: value, count: 1 }
    for (let before = blocks.at(-1); before; before = blocks.at(-1)) {
      if (startOf(before) + gap * before.count <= startOf(block)) break
      blocks.pop()
      block = { sum: before.sum + block.sum, count: before.count + block.count }
    }
    blocks.push(block)
  }
  return blocks.flatMap((block) => Array.from({ length: block.count }, (_, i) => startOf(block) + gap * i))
}

export interface LabelRequest {
  /** Position of the labelled point. */
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

export interface Placed extends Rectangle {
  /** Whether the label is so far from its point that it needs a leader line. */
  readonly far: boolean
  /** Side of the label next to its point. Text aligned at that side hides errors of the estimated width. */
  readonly anchor: 'start' | 'middle' | 'end'
}

const directions = [
  [1, 0],
  [-1, 0],
  [0, -1],
  [0, 1],
  [1, -1],
  [1, 1],
  [-1, -1],
  [-1, 1],
] as const
const distances = [8, 15, 26, 40, 56]

/**
 * @param obstacles areas that labels must not cover
 * @returns a place for each label, or undefined if no place is free
 */
export function placeLabels(
  wanted: readonly LabelRequest[],
  obstacles: readonly Rectangle[],
  bounds: Rectangle,
): (Placed | undefined)[] {
  const crowding = (one: LabelRequest) =>
    wanted.filter((other) => Math.abs(other.x - one.x) < one.width && Math.abs(other.y - one.y) < 3 * one.height).length
  const order = wanted.map((one, i) => ({ one, i, crowding: crowding(one) })).sort((a, b) => b.crowding - a.crowding)
  const placed: (Placed | undefined)[] = wanted.map(() => undefined)
  const taken: Rectangle[] = [...obstacles]
  for (const { one, i } of order) {
    const place = candidates(one).find(
      (candidate) => within(candidate, bounds) && !taken.some((other) => overlap(candidate, other)),
    )
    if (!place) continue
    placed[i] = place
    taken.push(place)
  }
  return placed
}

function candidates({ x, y, width, height }: LabelRequest): Placed[] {
  return distances.flatMap((distance) =>
    directions.map(([dx, dy]) => ({
      x: x + (dx === 0 ? -width / 2 : dx > 0 ? distance : -distance - width),
      y: y - height / 2 + dy * (distance + (dx === 0 ? height / 2 : height / 3)),
      width,
      height,
      far: distance > 20,
      anchor: dx === 0 ? ('middle' as const) : dx > 0 ? ('start' as const) : ('end' as const),
    })),
  )
}
