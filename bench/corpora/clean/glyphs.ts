/** Special characters of roff by name: groff_char(7). */

const table =
  'bu • ci ○ co © rg ® tm ™ ct ¢ eu € Eu € Po £ Ye ¥ Cs ¤ de ° dg † dd ‡ lq “ rq ” oq ‘ cq ’ aq \' dq " Bq „ bq ‚ Fo « Fc » ' +
  'fo ‹ fc › em — en – hy - ha ^ ti ~ rs \\ sl / br │ or | bb ¦ ul _ rn ‾ ru _ at @ sh # Do $ lB [ rB ] lC { rC } la ⟨ ra ⟩ ' +
  'lA ⇐ rA ⇒ hA ⇔ <- ← -> → <> ↔ ua ↑ da ↓ ul _ pl + mi − mu × di ÷ +- ± t+- ± eq = == ≡ != ≠ >= ≥ <= ≤ ~~ ≈ ~= ≅ =~ ≅ ap ∼ ' +
  'if ∞ pd ∂ gr ∇ sr √ sqrt √ is ∫ sum ∑ product ∏ mo ∈ nm ∉ sb ⊂ sp ⊃ cu ∪ ca ∩ es ∅ fa ∀ te ∃ no ¬ tno ¬ AN ∧ OR ∨ ' +
  '12 ½ 14 ¼ 34 ¾ S1 ¹ S2 ² S3 ³ sc § ps ¶ r! ¡ r? ¿ ga ` aa ´ a^ ^ a~ ~ ad ¨ ac ¸ ss ß ae æ AE Æ oe œ OE Œ ij ĳ ' +
  "'A Á 'E É 'I Í 'O Ó 'U Ú 'Y Ý 'a á 'e é 'i í 'o ó 'u ú 'y ý `A À `E È `I Ì `O Ò `U Ù `a à `e è `i ì `o ò `u ù " +
  '^A Â ^E Ê ^I Î ^O Ô ^U Û ^a â ^e ê ^i î ^o ô ^u û :A Ä :E Ë :I Ï :O Ö :U Ü :a ä :e ë :i ï :o ö :u ü :y ÿ ' +
  '~A Ã ~N Ñ ~O Õ ~a ã ~n ñ ~o õ ,C Ç ,c ç oA Å oa å /O Ø /o ø /L Ł /l ł vS Š vs š vZ Ž vz ž -D Ð Sd ð TP Þ Tp þ ' +
  '*a α *b β *g γ *d δ *e ε *z ζ *y η *h θ *i ι *k κ *l λ *m μ *n ν *c ξ *o ο *p π *r ρ *s σ *t τ *u υ *f φ *x χ *q ψ *w ω ' +
  '*A Α *B Β *G Γ *D Δ *E Ε *Z Ζ *Y Η *H Θ *I Ι *K Κ *L Λ *M Μ *N Ν *C Ξ *O Ο *P Π *R Ρ *S Σ *T Τ *U Υ *F Φ *X Χ *Q Ψ *W Ω ' +
  'sq □ OK ✓ lh ☜ rh ☞ fm ′ sd ″ mc µ 36 ■ lz ◊ CR ↵ u2026 … ba | hbar ℏ Im ℑ Re ℜ wp ℘ Ah ℵ f/ ⁄ %0 ‰ Of ª Om º'

const words = table.split(' ')
const glyphs = new Map<string, string>()
for (let i = 0; i + 1 < words.length; i += 2) glyphs.set(words[i] as string, words[i + 1] as string)

/** The character of a name, such as `bu` or `u00E9`; an empty text for an unknown name. */
export function glyph(name: string): string {
  const known = glyphs.get(name)
  if (known !== undefined) return known
  const code = /^u([\dA-F]{4,6}(?:_[\dA-F]{4,6})*)$/.exec(name)?.[1]
  if (code !== undefined)
    return code
      .split('_')
      .map((hex) => Number.parseInt(hex, 16))
      .map((point) => (point <= 0x10ffff ? String.fromCodePoint(point) : ''))
      .join('')
  const number = /^char(\d{1,3})$/.exec(name)?.[1]
  return number === undefined ? '' : String.fromCharCode(Number(number))
}
