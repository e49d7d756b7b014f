/**
 * Draws a figure as PDF: shapes stay vectors and text stays text, in a font that is embedded because publishers ask for
 * that. It reads the SVG of our own figures, with their few elements and their style sheet, not SVG in general.
 *
 * The standard fonts of PDF have neither a true minus nor Greek letters, so the font is Arimo, which has the widths of
 * Helvetica and Arial. A character that it lacks, such as a Chinese one, is drawn as a box.
 */
import { fileURLToPath } from 'node:url'
import { RunError } from '../../../core/errors.ts'
import { figureStyle } from '../../report/figures/style.ts'
import { elementsOf, type SvgElement } from './svg-elements.ts'
import { rulesOf, type Style, styleOf } from './svg-style.ts'

type Document = PDFKit.PDFDocument

/** A pixel of a figure in points of a page. */
const POINTS = 0.75
/** Folders of the package of fonts, by style. */
const faces = { regular: '400Regular', italic: '400Regular_Italic', bold: '600SemiBold' } as const
const BOX = '□'

const rules = rulesOf(figureStyle)

/** Draws the text of an SVG file. @param date Date of creation in the file, so that the same call gives the same bytes. */
export type FigurePdf = (svg: string, date: Date) => Promise<Uint8Array>

/** Loads what draws figures. @throws RunError if the optional packages are not installed */
export async function openFigurePdf(): Promise<FigurePdf> {
  try {
    const { default: PdfDocument } = await import('pdfkit')
    const fonts = Object.entries(faces).map(([face, name]) => {
      const file = import.meta.resolve(`@expo-google-fonts/arimo/${name}/Arimo_${name}.ttf`)
      return [face, fileURLToPath(file)] as const
    })
    return (svg, date) => {
      const elements = elementsOf(svg)
      const [x, y, width, height] = areaOf(elements[0])
      const document = new PdfDocument({
        size: [width * POINTS, height * POINTS],
        margin: 0,
        // The first version with transparency. LaTeX refuses to include files of newer versions than its own.
        pdfVersion: '1.4',
        info: { Title: elements.find(({ tag }) => tag === 'title')?.text ?? '', Creator: 'Choir', CreationDate: date },
      })
      for (const [face, file] of fonts) document.registerFont(face, file)
      document.scale(POINTS).translate(-x, -y)
      for (const element of elements) draw(document, element, elements)
      return bytesOf(document)
    }
  } catch (error) {
    const reason = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
    throw new RunError(
      `the packages pdfkit and @expo-google-fonts/arimo, which draw figures as PDF, cannot be loaded: ${reason} (npm install --include=optional)`,
    )
  }
}

/** The area of a figure in pixels: left, top, width, height. */
function areaOf(root: SvgElement | undefined): readonly [x: number, y: number, width: number, height: number] {
  const [x = 0, y = 0, width = 0, height = 0] = (root?.attributes.viewBox ?? '').split(' ').map(Number)
  return [x, y, width, height]
}

function bytesOf(document: Document): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = []
    document.on('data', (part: Buffer) => parts.push(part))
    document.on('end', () => resolve(Buffer.concat(parts)))
    document.on('error', reject)
    document.end()
  })
}

function draw(document: Document, element: SvgElement, all: readonly SvgElement[]): void {
  const { tag, attributes, parent } = element
  // A page is white already, and tiles are drawn where they are used.
  if (attributes.class === 'back' || parent === 'pattern') return
  const style = styleOf(rules, tag, attributes)
  document.save()
  transform(document, attributes.transform ?? '')
  if (tag === 'text') drawText(document, element, style)
  else if (shapes[tag]) drawShape(document, element, style, all)
  document.restore()
}

/** Applies `translate(x y)`, `rotate(degrees)` and `rotate(degrees x y)`. */
function transform(document: Document, text: string): void {
  for (const [, name, list = ''] of text.matchAll(/(translate|rotate)\(([^()]*)\)/g)) {
    const [first = 0, x = 0, y = 0] = list.split(/[ ,]+/).map(Number)
    if (name === 'translate') document.translate(first, x)
    else document.rotate(first, { origin: [x, y] })
  }
}

const shapes: Readonly<Record<string, (document: Document, at: (name: string) => number, d: string) => unknown>> = {
  rect: (document, at) =>
    at('rx') > 0
      ? document.roundedRect(at('x'), at('y'), at('width'), at('height'), at('rx'))
      : document.rect(at('x'), at('y'), at('width'), at('height')),
  circle: (document, at) => document.circle(at('cx'), at('cy'), at('r')),
  line: (document, at) => document.moveTo(at('x1'), at('y1')).lineTo(at('x2'), at('y2')),
  path: (document, _, d) => document.path(d),
}

function drawShape(document: Document, element: SvgElement, style: Style, all: readonly SvgElement[]): void {
  const { tag, attributes } = element
  const outline = () => shapes[tag]?.(document, (name) => Number(attributes[name] ?? 0), attributes.d ?? '')
  const [, pattern] = /^url\(#(.+)\)$/.exec(style.fill ?? '') ?? []
  const isFilled = style.fill !== 'none' && tag !== 'line'
  const isStroked = style.stroke !== undefined && style.stroke !== 'none'
  if (pattern !== undefined) {
    document.save()
    outline()
    document.clip()
    drawTiles(document, all, pattern)
    document.restore()
  }
  setPaint(document, style)
  const fills = isFilled && pattern === undefined
  if (!fills && !isStroked) return
  outline()
  // Viewers blend the edges of cells that touch, so that the page shines through; a thin line of their colour closes it.
  if (style['shape-rendering'] === 'crispEdges')
    document
      .lineWidth(0.6)
      .strokeColor(style.fill ?? '')
      .fillAndStroke()
  else if (fills && isStroked) document.fillAndStroke()
  else if (fills) document.fill()
  else document.stroke()
}

function setPaint(document: Document, style: Style): void {
  const opacity = Number(style.opacity ?? 1)
  const colour = (name: 'fill' | 'stroke') => (/^#/.test(style[name] ?? '') ? (style[name] ?? '') : '#000000')
  document.fillColor(colour('fill'), opacity * Number(style['fill-opacity'] ?? 1))
  document.strokeColor(colour('stroke'), opacity)
  document.lineWidth(Number.parseFloat(style['stroke-width'] ?? '1'))
  if (style['stroke-linejoin'] === 'round') document.lineJoin('round')
  const dashes = (style['stroke-dasharray'] ?? '')
    .split(/[ ,]+/)
    .map(Number)
    .filter((length) => length > 0)
  // The types of pdfkit know one length only.
  if (dashes.length > 0) document.dash(dashes as unknown as number, {})
}

/** Covers the figure, of which a shape is clipped, with the tiles of a pattern: a ground and stripes. */
function drawTiles(document: Document, all: readonly SvgElement[], id: string): void {
  const tile = all.find(({ tag, attributes }) => tag === 'pattern' && attributes.id === id)?.attributes ?? {}
  const size = Number(tile.width)
  const [x, y, width, height] = areaOf(all[0])
  const middle = [x + width / 2, y + height / 2] as const
  const reach = size * Math.ceil(Math.hypot(width, height) / 2 / size)
  for (const { tag, attributes } of all.filter(({ pattern }) => pattern === id)) {
    setPaint(document, styleOf(rules, tag, attributes))
    if (tag === 'rect') document.rect(x, y, width, height).fill()
    else {
      document.save()
      document.translate(...middle)
      transform(document, tile.patternTransform ?? '')
      for (let at = -reach; at <= reach; at += size) document.moveTo(at, -reach).lineTo(at, reach)
      document.stroke()
      document.restore()
    }
  }
}

function drawText(document: Document, { text, attributes }: SvgElement, style: Style): void {
  const isBold = Number(style['font-weight'] ?? 400) >= 600
  document.font(isBold ? 'bold' : style['font-style'] === 'italic' ? 'italic' : 'regular')
  document.fontSize(Number.parseFloat(style['font-size'] ?? '12'))
  const shown = withBoxes(document, text)
  const share = { middle: 0.5, end: 1 }[style['text-anchor'] ?? ''] ?? 0
  const x = Number(attributes.x ?? 0) - share * document.widthOfString(shown)
  const write = (options: PDFKit.Mixins.TextOptions) =>
    document.text(shown, x, Number(attributes.y ?? 0), { lineBreak: false, baseline: 'alphabetic', ...options })
  setPaint(document, style)
  if (style['paint-order'] === 'stroke') {
    // The edge keeps lines away from the letters. It is no content, so that readers do not find the text twice.
    document.markContent('Artifact')
    write({ stroke: true, fill: false })
    document.endMarkedContent()
  }
  setPaint(document, style)
  write({})
}

/** Replaces characters that the current font of a document lacks. */
function withBoxes(document: Document, text: string): string {
  const { font } = (document as unknown as { _font: { font: { hasGlyphForCodePoint(code: number): boolean } } })._font
  return Array.from(text, (character) =>
    font.hasGlyphForCodePoint(character.codePointAt(0) ?? 0) ? character : BOX,
  ).join('')
}
