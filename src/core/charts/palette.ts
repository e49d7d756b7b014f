/**
 * The colours of charts, on pages and in reports: of series, and of numbers on a sequential or a diverging scale. They
 * are distinguishable with any colour vision; the tests compute contrasts and distances.
 */

export type Scheme = 'light' | 'dark'

/**
 * Ten colours of series by scheme: blue, brown (vermilion on dark), teal, violet, vermilion (aqua on dark), crimson (orange
 * on dark), orchid, the colour of text, plum, and sage (lime on dark). At most one is a blue, so that each has a name. They began as the colours of Okabe and Ito (2008). Simulated annealing
 * moved them, to make the smallest distance between two colours large for usual vision, protanopia, deuteranopia and
 * tritanopia, while each keeps a contrast of 3:1 to its backgrounds, and thin lines do not look black or white.
 */
export const categorical: Readonly<Record<Scheme, readonly string[]>> = {
  light: ['#3a26ef', '#6a4300', '#107a8b', '#6008ab', '#fb4903', '#b6014f', '#c256c9', '#24292f', '#840471', '#639365'],
  dark: ['#1a63f9', '#e35201', '#0cb28f', '#8a7cc7', '#94cfc5', '#e29f0a', '#d493fa', '#eaedf3', '#b14c7a', '#d3df58'],
}

/**
 * The order in which the lines of runs take the colours: the first are as different as they can be, and two that are
 * next to each other never share a name, such as violet and plum. It is not the order of arms in reports, whose colours
 * stand beside shapes.
 */
export const lineOrder: Readonly<Record<Scheme, readonly number[]>> = {
  light: [0, 4, 7, 2, 1, 6, 5, 3, 9, 8],
  dark: [0, 1, 9, 6, 2, 7, 8, 5, 3, 4],
}

/** The two colours that are as different as any two can be: blue and vermilion. */
export function oppositesOf(scheme: Scheme): readonly [blue: string, vermilion: string] {
  const [blue, vermilion] = lineOrder[scheme].map((i) => categorical[scheme][i])
  return [blue, vermilion] as [string, string]
}

/** Number of colours of series. */
export const COLOURS = categorical.light.length

/** Lengths of dashes and gaps, in pixels. The first is a solid line. */
export const dashes: readonly (readonly number[])[] = [[], [7, 4], [2, 3], [10, 3, 2, 3], [15, 4]]

/** Colours of cividis (Nuñez, Anderton and Renslow 2018) at eighths. */
export const sequential: readonly string[] = [
  '#00224e',
  '#1a386f',
  '#434e6c',
  '#61656f',
  '#7d7c78',
  '#9b9476',
  '#bcae6c',
  '#dec958',
  '#fee838',
]

/**
 * Colours from blue over the colour of the background to orange, equally far on both sides. On light they are for cells
 * with a background of their own in any scheme too.
 */
export const diverging: Readonly<Record<Scheme, readonly string[]>> = {
  light: ['#0b3c6f', '#1f66a8', '#5b9bd0', '#a9cbe6', '#eeeeec', '#f3c797', '#dd9247', '#b3600f', '#733700'],
  dark: ['#56b4e9', '#262b33', '#ffaa3c'],
}
