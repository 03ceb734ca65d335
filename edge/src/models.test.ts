import { nameCharsMax } from '@cognitora/protocol/limits';
import { expect, test } from 'vitest';
import { envOf } from '../testing/env.ts';
import { showModel } from './models.ts';

const card = { id: 'm', createdSeconds: 7, ownedBy: 'x' };
const newEnv = () => envOf({}, { status: async () => ({ ready: true, models: [card] }) } as never);

test('a model is shown as OpenAI shows it', async () => {
  const answer = await showModel(newEnv(), 'm');
  expect(await answer.json()).toEqual({ id: 'm', object: 'model', created: 7, owned_by: 'x' });
});

test('a model that is not here is named in the refusal, up to the length of a name', async () => {
  const longest = 'x'.repeat(nameCharsMax);
  const refusal = { code: 'model_not_found', param: 'model' };
  const message = (name: string) => `The model "${name}" does not exist here.`;
  await expect(showModel(newEnv(), longest)).rejects.toMatchObject({ ...refusal, message: message(longest) });
  await expect(showModel(newEnv(), 'x'.repeat(20_000))).rejects.toMatchObject({
    ...refusal,
    message: message(`${longest}…`),
  });
});
