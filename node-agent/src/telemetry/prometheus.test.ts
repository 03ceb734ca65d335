import { expect, test } from 'vitest';
import { linesMax, samplesOf } from './prometheus.ts';

const read = (page: string, ...names: string[]) => Object.fromEntries(samplesOf(page, new Set(names)));

test('samples of a name are summed and counted, whatever their labels', () => {
  const page = [
    '# HELP vllm:num_requests_running Number of requests in model execution batches.',
    '# TYPE vllm:num_requests_running gauge',
    'vllm:num_requests_running{engine="0",model_name="m"} 3.0',
    'vllm:num_requests_running{engine="1",model_name="m"} 4.0',
    'vllm:num_requests_running_sum 100',
    'plain 7',
    'plain_total 1.5e3 1395066363000',
  ].join('\n');
  expect(read(page, 'vllm:num_requests_running', 'plain', 'plain_total', 'absent')).toEqual({
    'vllm:num_requests_running': { sum: 7, count: 2 },
    plain: { sum: 7, count: 1 },
    plain_total: { sum: 1500, count: 1 },
  });
});

test.each([
  ['a brace in a label', 'm{a="}",b="{"} 5'],
  ['a quote and a backslash in a label', 'm{a="\\"} 9",b="\\\\"} 5'],
  ['blanks before the labels and behind the value', '  m {a="b c"}\t5  \r'],
  ['an end without a line end, after odd lines', 'm{\nm\nm{a="b"}\nm{} x\nm NaN\nm +Inf\nm{a=\n\u0000\nm 5'],
])('%s is no obstacle', (_, page) => {
  expect(read(page, 'm')).toEqual({ m: { sum: 5, count: 1 } });
});

test('a name counts only where it begins a line and is whole', () => {
  const page = ['# m 1', 'x m 2', 'mm 3', 'm_sum 4', 'a{b="m 5"} 6', 'm', ' \t m 7', 'm{} 8'].join('\n');
  expect(read(page, 'm')).toEqual({ m: { sum: 15, count: 2 } });
});

test('a page of more lines than an engine has is refused whole', () => {
  const page = (lines: number): string => 'm 1\n'.repeat(lines - 1);
  expect(read(page(linesMax), 'm')).toEqual({ m: { sum: linesMax - 1, count: linesMax - 1 } });
  expect(() => read(page(linesMax + 1), 'm')).toThrow(`${linesMax} lines`);
});

test('what is no number says nothing, rather than zero', () => {
  expect(read('m NaN\nn\nn \no{} \n', 'm', 'n', 'o')).toEqual({});
});
