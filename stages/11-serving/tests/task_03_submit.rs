//! Task 3: the queue has places; without one, a request is refused at once, and a choice's channel has room for all it can get.

use decoding::SamplingParams;
use serving::engine::{
    EngineEvent, EngineHandle, FinishReason, GenerationRequest, SubmitError, engine_channel,
};
use serving::metrics::Metrics;
use std::sync::Arc;

fn request(choices: usize, max_new_tokens: usize) -> GenerationRequest {
    GenerationRequest {
        prompt: vec![1, 2, 3].into(),
        choices,
        params: SamplingParams::default(),
        max_new_tokens,
        min_new_tokens: 0,
        stop_token_ids: Vec::new(),
        priority: 0,
        cache_salt: 0,
        prompt_logprobs: None,
    }
}

fn refusal(handle: &EngineHandle) -> SubmitError {
    handle.submit(request(1, 1)).map(drop).unwrap_err()
}

#[test]
fn each_choice_has_a_channel_with_room_for_all_its_events() {
    let (handle, mut inbox) = engine_channel(4, Arc::new(Metrics::default()));
    for (choices, tokens) in [(1, 0), (1, 1), (3, 7)] {
        let mut receivers = handle.submit(request(choices, tokens)).unwrap();
        let queued = inbox.try_next().expect("it is in the queue");
        assert_eq!((receivers.len(), queued.events.len()), (choices, choices));
        for (index, events) in queued.events.iter().enumerate() {
            // The engine never waits: nobody has read anything yet.
            let prompt = EngineEvent::Prompt {
                cached_tokens: index,
                logprobs: Vec::new(),
            };
            events.try_send(prompt).unwrap();
            for token in 0..tokens as u32 {
                let event = EngineEvent::Token {
                    token,
                    logprobs: None,
                };
                events.try_send(event).expect("room for every token");
            }
            let end = EngineEvent::Finished(FinishReason::Length);
            events.try_send(end).expect("room for the end");
        }
        // Every choice reads what was sent to it.
        for (index, receiver) in receivers.iter_mut().enumerate() {
            let first = receiver.try_recv().unwrap();
            assert!(
                matches!(first, EngineEvent::Prompt { cached_tokens, .. } if cached_tokens == index)
            );
            let rest = std::iter::from_fn(|| receiver.try_recv().ok()).count();
            assert_eq!(rest, tokens + 1);
        }
    }
}

#[test]
fn a_place_is_held_until_the_request_first_runs() {
    let (handle, mut inbox) = engine_channel(2, Arc::new(Metrics::default()));
    let first = handle.submit(request(1, 4)).unwrap();
    let _second = handle.submit(request(1, 4)).unwrap();
    assert_eq!(refusal(&handle), SubmitError::QueueFull { places: 2 });
    // Taken from the channel it still waits; dropping the place is what makes room.
    let taken = inbox.try_next().unwrap();
    assert_eq!(refusal(&handle), SubmitError::QueueFull { places: 2 });
    drop(taken.place);
    let _third = handle.submit(request(1, 4)).unwrap();
    assert_eq!(refusal(&handle), SubmitError::QueueFull { places: 2 });
    drop(first);
}

#[test]
fn without_places_nothing_is_taken() {
    let (handle, _inbox) = engine_channel(0, Arc::new(Metrics::default()));
    assert_eq!(refusal(&handle), SubmitError::QueueFull { places: 0 });
}

#[test]
fn a_server_that_drains_refuses_and_keeps_what_it_has() {
    let (handle, mut inbox) = engine_channel(2, Arc::new(Metrics::default()));
    let _receivers = handle.submit(request(1, 4)).unwrap();
    handle.begin_drain();
    assert_eq!(refusal(&handle), SubmitError::Draining);
    assert!(inbox.try_next().is_some());
    assert!(inbox.try_next().is_none());
}

#[test]
fn an_engine_that_is_gone_is_said_to_be() {
    let (handle, inbox) = engine_channel(2, Arc::new(Metrics::default()));
    drop(inbox);
    assert_eq!(refusal(&handle), SubmitError::Gone);
}
