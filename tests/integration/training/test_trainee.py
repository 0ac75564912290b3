"""What is trained is the plain model's own loss, and nothing moves but what should."""

from __future__ import annotations

import copy

import pytest
import torch

from personatune.data.render import Rendered, render
from personatune.models.device import Compute
from personatune.models.load import load_base
from personatune.models.resolve import resolve
from personatune.models.turn_tokens import starting_rows, untrained
from personatune.training import loss
from personatune.training.recipe import Recipe
from personatune.training.trainee import Trainee, collate
from tiny_models import CONTEXT, small_talk

FP32 = Compute("cpu", "fp32", "for a test")
BF16 = Compute("cpu", "bf16", "for a test")


@pytest.fixture
def rendered(loaded):
    return [render(loaded.tokenizer, conversation) for conversation in small_talk(6)]


def own_loss(model, batch):
    """The sum that the model of transformers itself computes."""
    shifted = int((batch["labels"][:, 1:] != -100).sum())
    return float(model(**batch).loss) * shifted


def take_steps(trainee, batch, count=3):
    optimizer = torch.optim.SGD([p for p in trainee.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(count):
        optimizer.zero_grad()
        (trainee(**batch) / 100).backward()
        optimizer.step()


def test_collating_pads_and_labels_exactly_what_is_labelled(rendered):
    batch = collate(rendered)
    longest = -(-max(len(row.token_ids) for row in rendered) // 8) * 8

    assert all(tensor.shape == (len(rendered), longest) for tensor in batch.values())
    for at, row in enumerate(rendered):
        n = len(row.token_ids)
        assert batch["input_ids"][at, :n].tolist() == list(row.token_ids)
        assert batch["attention_mask"][at].tolist() == [1] * n + [0] * (longest - n)
        expected = [token if on else -100 for token, on in zip(row.token_ids, row.labelled, strict=True)]
        assert batch["labels"][at].tolist() == expected + [-100] * (longest - n)


@pytest.mark.parametrize("positions", [3, 10_000])
@torch.no_grad()
def test_the_loss_is_the_plain_models_own(loaded, rendered, monkeypatch, positions):
    monkeypatch.setattr(loss, "BLOCK_BYTES", positions * 600 * 4)
    batch = collate(rendered)

    assert float(Trainee(loaded.model)(**batch)) == pytest.approx(own_loss(loaded.model, batch), rel=1e-5)


@torch.no_grad()
def test_a_bent_output_layer_is_respected(gemma, rendered):
    bent = copy.deepcopy(gemma.model)
    bent.config.final_logit_softcapping = 1.5
    batch = collate(rendered)
    value = float(Trainee(bent)(**batch))

    assert value == pytest.approx(own_loss(bent, batch), rel=1e-5)
    assert value != pytest.approx(own_loss(gemma.model, batch), rel=1e-3)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_before_the_first_step_the_trainee_is_the_base(loaded, rendered, method):
    batch = collate(rendered)
    with torch.no_grad():
        trainee = Trainee(copy.deepcopy(loaded.model), Recipe(method=method))
        assert float(trainee(**batch)) == pytest.approx(own_loss(loaded.model, batch), rel=1e-5)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_every_trained_parameter_moves_and_no_frozen_one(loaded, rendered, method):
    trainee = Trainee(copy.deepcopy(loaded.model), Recipe(method=method, lora_rank=4))
    before = {name: parameter.detach().clone() for name, parameter in trainee.named_parameters()}
    take_steps(trainee, collate(rendered))

    for name, parameter in trainee.named_parameters():
        assert torch.equal(parameter, before[name]) != parameter.requires_grad, name
    total, trained = trainee.count()
    assert 0 < trained < total
    assert not loaded.model.get_input_embeddings().weight.grad
    for layer in (trainee.causal[0].get_input_embeddings(), trainee.causal[0].get_output_embeddings()):
        assert not any(parameter.requires_grad for parameter in layer.parameters())


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_gradient_is_that_of_the_plain_loss(loaded, rendered, method):
    batch = collate(rendered)
    trainee = Trainee(copy.deepcopy(loaded.model), Recipe(method=method, lora_rank=4))
    trainee.train()
    with torch.no_grad():  # B starts at zero, and with it every gradient of A
        for name, parameter in trainee.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
    trained = {name: p for name, p in trainee.named_parameters() if p.requires_grad}
    ours = torch.autograd.grad(trainee(**batch), list(trained.values()))
    shifted = int((batch["labels"][:, 1:] != -100).sum())
    theirs = torch.autograd.grad(trainee.model(**batch).loss * shifted, list(trained.values()))

    for name, one, other in zip(trained, ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()), msg=name)


# --- turn tokens that were never learned -------------------------------------------------------------------


@pytest.fixture(params=[FP32, BF16], ids=["fp32", "bf16"])
def unlearned(request, tiny_gemma_unlearned):
    return load_base(resolve(str(tiny_gemma_unlearned)), request.param)


def turn_rows(loaded):
    embedding = loaded.model.get_input_embeddings().weight
    tokens = loaded.tokenizer.convert_tokens_to_ids(["<start_of_turn>", "<end_of_turn>"])
    newline = loaded.tokenizer("\n", add_special_tokens=False)["input_ids"][-1]
    return tokens, starting_rows(embedding, tokens, tokens[1], (loaded.tokenizer.eos_token_id, newline))


def test_rows_in_a_crowd_of_lookalikes_are_found(gemma, unlearned):
    turn, _ = turn_rows(unlearned)
    embedding = unlearned.model.get_input_embeddings().weight

    assert untrained(embedding, [1, 2, *turn, 300]) == turn
    assert untrained(gemma.model.get_input_embeddings().weight, [1, 2, *turn, 300]) == []


def test_turn_tokens_start_as_tokens_that_the_model_knows(unlearned):
    (start, end), rows = turn_rows(unlearned)
    embedding = unlearned.model.get_input_embeddings().weight
    newline = unlearned.tokenizer("\n", add_special_tokens=False)["input_ids"][-1]

    assert rows.dtype == torch.float32
    assert torch.equal(rows[0], embedding[newline].float())
    assert torch.equal(rows[1], embedding[1].float())
    assert start < end


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # PEFT 0.21 asks by an old name
@pytest.mark.parametrize("method", ["lora", "full"])
def test_trained_rows_are_read_and_written_with_the_same_values(unlearned, method, tmp_path):
    """The loss of the trainee is that of the model it saves, where the rows lie in the embedding."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    turn, values = turn_rows(unlearned)
    batch = collate([render(unlearned.tokenizer, conversation) for conversation in small_talk(6)])
    frozen = unlearned.model.get_input_embeddings().weight.detach().clone()
    dtype = unlearned.model.dtype
    base = copy.deepcopy(unlearned.model)
    trainee = Trainee(unlearned.model, Recipe(method=method, lora_rank=4), (turn, values))
    before = trainee.trained_rows.detach().clone()
    take_steps(trainee, batch)
    after = trainee.trained_rows.detach().clone()
    trainee.eval()
    with torch.no_grad():
        summed = float(trainee(**batch))

    assert torch.equal(before, values)
    assert (after != before).any(dim=1).all()
    others = [token for token in range(len(frozen)) if token not in turn]
    assert torch.equal(unlearned.model.get_input_embeddings().weight[others], frozen[others])

    trainee.save_model(tmp_path, dtype)
    if method == "lora":
        saved = PeftModel.from_pretrained(base, tmp_path).merge_and_unload()
    else:
        saved = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype)
    with torch.no_grad():
        torch.testing.assert_close(saved.get_input_embeddings().weight[turn].float(), after, rtol=0.01, atol=1e-4)
        assert own_loss(saved, batch) == pytest.approx(summed, rel=1e-5 if dtype == torch.float32 else 0.01)


def test_rows_of_an_untied_model_are_left_alone(llama):
    trainee = Trainee(copy.deepcopy(llama.model), Recipe(), ([2, 3], torch.zeros(2, 32)))

    assert trainee.trained_rows is None


# --- keeping and going on ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lora", "full"])
def test_saved_tensors_are_read_back_bit_for_bit(loaded, rendered, method, tmp_path):
    recipe = Recipe(method=method, lora_rank=4)
    one, other = (Trainee(copy.deepcopy(loaded.model), recipe) for _ in range(2))
    take_steps(one, collate(rendered))
    one.save_trainable(tmp_path)
    other.load_trainable(tmp_path)

    for (name, left), (_, right) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        assert torch.equal(left, right), name


def test_scoring_does_not_depend_on_company_and_leaves_training_as_it_was(loaded, rendered):
    trainee = Trainee(copy.deepcopy(loaded.model), Recipe(lora_dropout=0.5))
    trainee.train()
    state = torch.get_rng_state()
    together, alone = trainee.nll(rendered, batch_size=6), trainee.nll(rendered, batch_size=1)

    assert together == pytest.approx(alone, rel=1e-5)
    assert trainee.training
    assert torch.equal(torch.get_rng_state(), state)
    total = sum(float(trainee.nll([row])) * sum(row.labelled) for row in rendered)
    assert total / sum(sum(row.labelled) for row in rendered) == pytest.approx(together, rel=1e-5)


def test_a_row_as_long_as_the_model_reads_is_scored(gemma):
    ids = tuple(range(6, 6 + CONTEXT))
    row = Rendered(ids, (False, *[True] * (CONTEXT - 1)), 1)

    assert 0 < Trainee(gemma.model).nll([row]) < 20
