import { expect, test } from 'vitest'
import { normalText } from './normal.ts'
import { podText } from './pod.ts'

const text = (...paragraphs: string[]): string => normalText(podText(paragraphs.join('\n\n')))

test('the documentation of a module stays, in headings, paragraphs, items and code', () => {
  expect(
    text(
      'package Whale;\nuse strict;',
      '=head1 NAME',
      'Whale - a\nlarge mammal',
      '=over 4',
      '=item * a point',
      '=item new($name)',
      'Makes one:',
      '    my $w = Whale->new;\n      $w->dive;',
      '=back',
      '=begin html',
      '<b>no</b>',
      '=end html',
      '=for comment no',
      'after',
      '=cut',
      'sub new { bless {} }',
    ),
  ).toBe(
    'NAME\n\nWhale - a large mammal\n\n- a point\n\nnew($name)\n\nMakes one:\n\n    my $w = Whale->new;\n      $w->dive;\n\nafter\n',
  )
})

test('formatting codes become their text: nested codes, double brackets, links and characters', () => {
  expect(text('=pod', 'B<bold I<and italic>>, C<< $a->{b} <=> 1 >>, E<lt>E<eacute>E<0x41>, F<file>X<index>.')).toBe(
    'bold and italic, $a->{b} <=> 1, <éA, file.\n',
  )
  expect(text('=pod', 'L<perlref>, L<text|perlop>, L<perlop/"Operators">, L</here>, L<https://a.example/x>.')).toBe(
    'perlref, text, "Operators" in perlop, "here", https://a.example/x.\n',
  )
  expect(text('=pod', 'if (1 < 2 and B > A) {')).toBe('if (1 < 2 and B > A) {\n')
})
